"""Runtimes of exports without NMS: they run the network, and TensorFlow the post-processing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.detection.detector import Detections, NetworkDetector
from keras_retinanet.detection.detector_settings import DetectorSettings
from keras_retinanet.geometry.postprocess import detections_of


class RawDetector(NetworkDetector):
    """Detections from a runtime that gives "class_logits" and "box_deltas".

    Args:
        run: images [B, H, W, 3], uint8 or as the policy has pixels -> outputs, of which the two
            are used.
        one_by_one: the runtime takes batches of one image only.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], dict[str, Any]],
        settings: DetectorSettings,
        *,
        one_by_one: bool = False,
    ) -> None:
        self.class_names = settings.class_names
        self.inference, self.tiling = settings.inference, settings.tiling
        self.input_policy = settings.input_policy
        self._network = run
        self._one_by_one = one_by_one
        self._postprocess = tf.function(
            lambda logits, deltas, side, sizes: detections_of(
                settings,
                {"class_logits": logits, "box_deltas": deltas},
                side[0],
                side[1],
                sizes,
            ),
            input_signature=[
                tf.TensorSpec((None, None, len(settings.class_names)), tf.float32),
                tf.TensorSpec((None, None, 4), tf.float32),
                tf.TensorSpec((2,), tf.int32),
                tf.TensorSpec((None, 2), tf.int32),
            ],
            autograph=False,
        )

    def __call__(self, images: np.ndarray, sizes: np.ndarray) -> Detections:
        if self._one_by_one and len(images) > 1:
            each = [self(images[i : i + 1], sizes[i : i + 1]) for i in range(len(images))]
            return {name: np.concatenate([found[name] for found in each]) for name in each[0]}
        outputs = self._network(images)
        found = self._postprocess(
            outputs["class_logits"],
            outputs["box_deltas"],
            np.array(images.shape[1:3], np.int32),
            sizes,
        )
        return {name: value.numpy() for name, value in found.items()}
