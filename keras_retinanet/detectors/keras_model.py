"""The runtime of Keras models and .keras files."""

import numpy as np
import tensorflow as tf

from keras_retinanet.detectors.detector import Detections, NetworkDetector
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.postprocess import detect


class KerasDetector(NetworkDetector):
    """A RetinaNet's detections as one graph for images of all sizes.

    The graph is made at the first call, with the thresholds that the model has then.
    """

    def __init__(self, model: RetinaNet) -> None:
        self.class_names = model.class_names
        self.input_policy = model.input_policy
        self._run = tf.function(
            lambda images, sizes: detect(model, images, sizes),
            input_signature=[
                tf.TensorSpec((None, None, None, 3), tf.uint8),
                tf.TensorSpec((None, 2), tf.int32),
            ],
            autograph=False,
        )

    def __call__(self, images: np.ndarray, sizes: np.ndarray) -> Detections:
        return {name: value.numpy() for name, value in self._run(images, sizes).items()}
