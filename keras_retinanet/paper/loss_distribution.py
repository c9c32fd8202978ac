"""Figure 4's examples: how sure a trained model is of foreground and background in a data set."""

import numpy as np

from keras_retinanet.conventions import BACKGROUND
from keras_retinanet.data.dataset import DetectionDataset
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.models.retinanet import RetinaNet

MAX_NEGATIVES = 10_000_000  # the paper's number


def sample_probabilities(
    model: RetinaNet,
    dataset: DetectionDataset,
    *,
    max_negatives: int = MAX_NEGATIVES,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return p_t of foreground and of background examples: [n] and [m] float32.

    An example is an anchor with one class. Foreground are the anchors on objects with the object's
    class, all of them; background is every other pair, of which each image gives an equal share at
    random. Ignored anchors are left out.
    """
    dataset = dataset.with_classes(model.class_names)
    plan = TrainingPlan(
        dataset.heights, dataset.widths, model.input_policy, batch_size=1, shuffle=False
    )
    batches = training_batches(
        dataset, plan, anchor_generator=model.anchor_generator, horizontal_flip=False
    ).take(len(dataset))
    rng = np.random.default_rng(seed)
    share = max(1, max_negatives // len(dataset))
    positives, negatives = [], []
    for images, targets in batches:
        scores = class_probabilities(model, images)
        matches = targets["matches"].numpy()[0]
        anchors = np.flatnonzero(matches >= 0)
        labels = targets["gt_labels"].numpy()[0][matches[anchors]]
        positives.append(scores[anchors, labels])
        is_background = np.repeat((matches >= BACKGROUND)[:, None], scores.shape[1], axis=1)
        is_background[anchors, labels] = False
        others = 1.0 - scores[is_background]
        negatives.append(
            rng.choice(others, share, replace=False) if len(others) > share else others
        )
    return np.concatenate(positives), np.concatenate(negatives)


def class_probabilities(model: RetinaNet, images: np.ndarray) -> np.ndarray:
    """Return the class probabilities [A, K] of one network input [1, H, W, 3]."""
    logits = np.float64(model.predict_on_batch(images)["class_logits"][0])
    if model.class_activation == "softmax":
        highest = np.maximum(logits.max(axis=1, keepdims=True), 0)
        terms = np.exp(logits - highest)
        return terms / (terms.sum(axis=1, keepdims=True) + np.exp(-highest))
    return np.exp(-np.logaddexp(0, -logits))
