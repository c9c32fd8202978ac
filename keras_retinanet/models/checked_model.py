"""What Keras users give to `compile`, `fit` and `predict` out of habit: made to work, or told how.

Losses and data stand beside the models: they are found by name and not by an import.
"""

import importlib
from typing import Any

import keras
import numpy as np

from keras_retinanet.models.folding import FoldedModel


class CheckedModel(FoldedModel):
    """A Keras model that looks at what it is given before Keras does."""

    anchor_generator: Any

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, *more: Any, **settings: Any
    ) -> None:
        losses = importlib.import_module("keras_retinanet.losses.compiled")
        super().compile(optimizer, losses.as_detection_loss(loss), *more, **settings)

    def compile_from_config(self, config: dict) -> None:
        # As Keras does where `compile` is its own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, *more: Any, **settings: Any) -> Any:
        if keras.backend.backend() == "tensorflow":
            own = importlib.import_module("keras_retinanet.data.pipeline.own_batches")
            own.refuse_endless(x, settings.get("steps_per_epoch"))
            x = own.with_matches(x, y, self.anchor_generator)
            if "validation_data" in settings:
                settings["validation_data"] = own.with_matches(
                    settings["validation_data"], None, self.anchor_generator
                )
        return super().fit(x, y, *more, **settings)

    def predict(self, x: Any, *more: Any, **settings: Any) -> Any:
        is_array = isinstance(x, np.ndarray) or keras.ops.is_tensor(x)
        shape = tuple(x.shape) if is_array else ()
        if len(shape) == 3:
            raise ValueError(
                f"predict takes images [B, H, W, 3], got {list(shape)}: give image[None], or call "
                "detect(image), which finds boxes, scores and names"
            )
        return super().predict(x, *more, **settings)
