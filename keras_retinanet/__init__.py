"""RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection") on TensorFlow and Keras."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# The public names and where they live. They are loaded at first use: the command line answers
# --help without TensorFlow, and the Keras-only parts run where there is none.
_PUBLIC = {
    "AnchorGenerator": "geometry.anchors",
    "Augmentation": "data.pipeline.augment.settings",
    "BoxCoder": "geometry.boxes",
    "DetectionDataset": "data.dataset",
    "DetectionLoss": "losses",
    "FocalLoss": "losses",
    "InputPolicy": "geometry.input_policy",
    "RetinaNet": "models.retinanet",
    "SGDWithL2": "optimizers.weight_decay",
    "SmoothL1": "losses",
    "TrainingPlan": "data.pipeline.plan",
    "evaluate": "evaluation.evaluate",
    "export_model": "export.export",
    "export_saved_model": "export.export",
    "load_config": "config.load",
    "load_dataset": "data.source",
    "load_detector": "detection.load",
    "load_model": "detection.model_files",
    "train": "training.train",
    "training_batches": "data.pipeline.batches",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
