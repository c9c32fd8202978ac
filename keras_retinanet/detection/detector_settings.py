"""What an artefact's detections depend on beside its weights, as JSON that travels with it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.boxes import BoxCoder
from keras_retinanet.geometry.inference_settings import InferenceSettings, with_inference_settings
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import WHOLE_IMAGES, Tiling
from keras_retinanet.models.retinanet import PARTS, RetinaNet


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector has to know of a RetinaNet, under the model's own names."""

    class_names: tuple[str, ...]
    class_activation: str
    anchor_generator: AnchorGenerator
    box_coder: BoxCoder
    input_policy: InputPolicy
    inference: InferenceSettings
    tiling: Tiling = WHOLE_IMAGES

    @classmethod
    def of_model(cls, model: RetinaNet) -> "DetectorSettings":
        return cls(**{field.name: getattr(model, field.name) for field in dataclasses.fields(cls)})

    def as_json(self) -> dict[str, Any]:
        """Return the settings as exports hold them: those of inference one by one."""
        content = dataclasses.asdict(self)
        return {**content, **content.pop("inference")}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "DetectorSettings":
        content = with_inference_settings(content)
        # An export of version 0.1.0 knows of no tiles.
        names = [f.name for f in dataclasses.fields(cls) if f.name in PARTS and f.name in content]
        parts = {name: PARTS[name](**content[name]) for name in names}
        return cls(**{**content, **parts, "class_names": tuple(content["class_names"])})
