"""What a detector keeps of what its network sees: the settings of post-processing, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from keras_retinanet.conventions import (
    BOX_QUALITY_SHARE,
    MAX_BOX_QUALITY_SHARE,
    MAX_DETECTIONS,
    NMS_IOU_THRESHOLD,
    PRE_NMS_TOP_K,
    SCORE_THRESHOLD,
)

CLIPS = ("before_nms", "after_nms", "none")


@dataclass(frozen=True)
class InferenceSettings:
    """How detections are picked (section 4.1, "Inference"); they are saved with the model.

    Args:
        score_threshold: scores at or below it are dropped.
        pre_nms_top_k: at most so many of each level's scores, the highest, get to NMS.
        nms_iou_threshold: boxes that overlap a better one of their class by more are dropped.
        max_detections: at most so many are kept of an image.
        clip: when boxes are cut to the image: "before_nms" (torchvision), "after_nms"
            (Detectron2) or not at all, "none".
        drop_empty: leave out boxes without area, such as those of the padding once they are cut.
        nms_across_classes: NMS drops boxes whatever the class of the better one (KerasHub), so that
            no two classes are found in one place.
        thresholds: of each class, the score from which its detections are worth showing; `predict`
            shows those by default. None: not known.
        box_quality_share: of a model that predicts its boxes' quality q, how much it counts beside
            the class' probability p: the score is p^(1 - share) q^share.
    """

    score_threshold: float = SCORE_THRESHOLD
    pre_nms_top_k: int = PRE_NMS_TOP_K
    nms_iou_threshold: float = NMS_IOU_THRESHOLD
    max_detections: int = MAX_DETECTIONS
    clip: str = "before_nms"
    drop_empty: bool = True
    nms_across_classes: bool = False
    thresholds: tuple[float, ...] | None = None
    box_quality_share: float = BOX_QUALITY_SHARE

    def __post_init__(self) -> None:
        if self.thresholds is not None:
            # Saved as a list.
            object.__setattr__(self, "thresholds", tuple(self.thresholds))
            if not all(0 <= threshold <= 1 for threshold in self.thresholds):
                raise ValueError(f"thresholds must be between 0 and 1, got {self.thresholds}")
        if self.clip not in CLIPS:
            raise ValueError(f"clip must be one of {CLIPS}, not {self.clip!r}")
        for name, share in (
            ("score_threshold", self.score_threshold),
            ("nms_iou_threshold", self.nms_iou_threshold),
        ):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {share}")
        if not 0 <= self.box_quality_share <= MAX_BOX_QUALITY_SHARE:
            raise ValueError(
                f"box_quality_share must be between 0 and {MAX_BOX_QUALITY_SHARE}, got "
                f"{self.box_quality_share}"
            )
        for name, count in (
            ("pre_nms_top_k", self.pre_nms_top_k),
            ("max_detections", self.max_detections),
        ):
            if count < 1 or count != int(count):
                raise ValueError(f"{name} must be a whole number of at least 1, got {count}")


def with_inference_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's config with its inference settings under one key, "inference".

    Version 0.1.0 wrote them one by one, into .keras files, checkpoints and exports.
    """
    names = [field.name for field in fields(InferenceSettings)]
    one_by_one = {name: config[name] for name in names if name in config}
    if not one_by_one:
        return dict(config)
    rest = {key: value for key, value in config.items() if key not in names}
    return {**rest, "inference": one_by_one}
