"""Milliseconds for an image on the machine at hand, as in table 1e and figure 2."""

import time

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.batches import network_inputs
from keras_retinanet.detection.runtimes.keras_model import KerasDetector
from keras_retinanet.models.retinanet import RetinaNet

NUM_IMAGES = 20
NUM_WARMUP = 3


def milliseconds_per_image(
    model: RetinaNet, dataset: DetectionDataset, *, num_images: int = NUM_IMAGES
) -> float:
    """Return the median time of network and post-processing for one image, batch size 1.

    The images are scaled beforehand. Fewer images than `num_images` are gone through again.
    """
    detector = KerasDetector(model)
    inputs = network_inputs(
        dataset.image_paths, dataset.heights, dataset.widths, model.input_policy
    ).take(num_images)
    inputs = [(e["image"][None], e["size"][None]) for e in inputs.as_numpy_iterator()]
    times = []
    for i in range(NUM_WARMUP + num_images):
        image, size = inputs[i % len(inputs)]
        start = time.perf_counter()
        detector(image, size)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[NUM_WARMUP:]))
