"""RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection") on TensorFlow and Keras."""

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; a test keeps this list equal to the one below
    from keras_retinanet.config.load import load_config as load_config
    from keras_retinanet.data.dataset import DetectionDataset as DetectionDataset
    from keras_retinanet.data.pipeline.augment.settings import Augmentation as Augmentation
    from keras_retinanet.data.pipeline.batches import training_batches as training_batches
    from keras_retinanet.data.pipeline.plan import TrainingPlan as TrainingPlan
    from keras_retinanet.data.pipeline.targets import make_targets as make_targets
    from keras_retinanet.data.source import load_dataset as load_dataset
    from keras_retinanet.detection.load_detector import load_detector as load_detector
    from keras_retinanet.detection.model_files import load_model as load_model
    from keras_retinanet.evaluation.evaluate import evaluate as evaluate
    from keras_retinanet.export.export import export_model as export_model
    from keras_retinanet.export.export import export_saved_model as export_saved_model
    from keras_retinanet.geometry.anchors import AnchorGenerator as AnchorGenerator
    from keras_retinanet.geometry.boxes import BoxCoder as BoxCoder
    from keras_retinanet.geometry.inference_settings import InferenceSettings as InferenceSettings
    from keras_retinanet.geometry.input_policy import InputPolicy as InputPolicy
    from keras_retinanet.losses import DetectionLoss as DetectionLoss
    from keras_retinanet.losses import FocalLoss as FocalLoss
    from keras_retinanet.losses import SmoothL1 as SmoothL1
    from keras_retinanet.models.retinanet import RetinaNet as RetinaNet
    from keras_retinanet.optimizers.weight_decay import SGDWithL2 as SGDWithL2
    from keras_retinanet.training.train import train as train

__version__ = "0.1.0"  # pyproject.toml says the same

# The public names and where they live. They are loaded at first use: the command line answers
# --help without TensorFlow, and the Keras-only parts run where there is none.
_PUBLIC = {
    "AnchorGenerator": "geometry.anchors",
    "Augmentation": "data.pipeline.augment.settings",
    "BoxCoder": "geometry.boxes",
    "DetectionDataset": "data.dataset",
    "DetectionLoss": "losses",
    "FocalLoss": "losses",
    "InferenceSettings": "geometry.inference_settings",
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
    "load_detector": "detection.load_detector",
    "load_model": "detection.model_files",
    "make_targets": "data.pipeline.targets",
    "train": "training.train",
    "training_batches": "data.pipeline.batches",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if "keras" in sys.modules:
        _register()
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]


# What a saved model names: Keras finds it once these are imported.
_SAVED = ("models.retinanet", "losses", "optimizers.weight_decay", "optimizers.gradient_sum")


def _register() -> None:
    """Make `keras.models.load_model` know this package's models."""
    for module in _SAVED:
        import_module(f"{__name__}.{module}")


class _WhenKerasIsImported(MetaPathFinder):
    """Registers as soon as Keras is there; importing this package alone does not import Keras."""

    def __init__(self) -> None:
        self._is_asking = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras" or self._is_asking:
            return None
        self._is_asking = True  # the others: TensorFlow asks, too, without importing what is found
        spec = find_spec(fullname)
        self._is_asking = False
        if spec is None or spec.loader is None:
            return spec
        load: Any = spec.loader.exec_module

        def load_and_register(module: Any) -> None:
            load(module)
            sys.meta_path.remove(self)
            # If it is a module of this package that imports Keras, that one is half done.
            if not any(name.startswith(f"{__name__}.") for name in sys.modules):
                _register()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def _register_when_possible() -> None:
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _WhenKerasIsImported())


_register_when_possible()
