"""What an artefact's detections depend on beside its weights, as JSON that travels with it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.models.retinanet import RetinaNet

_PARTS = {
    "anchor_generator": AnchorGenerator,
    "box_coder": BoxCoder,
    "input_policy": InputPolicy,
}


@dataclass(frozen=True)
class Inference:
    """The settings that `postprocess` reads off a RetinaNet, under the same names."""

    class_names: tuple[str, ...]
    class_activation: str
    anchor_generator: AnchorGenerator
    box_coder: BoxCoder
    input_policy: InputPolicy
    score_threshold: float
    pre_nms_top_k: int
    nms_iou_threshold: float
    max_detections: int

    @classmethod
    def of_model(cls, model: RetinaNet) -> "Inference":
        return cls(**{field.name: getattr(model, field.name) for field in dataclasses.fields(cls)})

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Inference":
        parts = {name: kind(**content[name]) for name, kind in _PARTS.items()}
        names = tuple(content["class_names"])
        return cls(**{**content, **parts, "class_names": names})
