import numpy as np
import pytest

from keras_retinanet.conventions import BACKGROUND, IGNORE
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.paper.loss_distribution import class_probabilities, sample_probabilities

pytestmark = pytest.mark.usefixtures("small_resnet18")


@pytest.fixture(scope="module")
def model(make_tiny, demo_sets):
    return make_tiny(
        class_names=demo_sets[1].class_names,
        input_policy=InputPolicy("square", size=64),
        anchor_generator=AnchorGenerator(sizes=(8, 16, 32, 64, 128)),
    )


def by_loops(model, dataset):
    """All examples, anchor by anchor, with the matches that training has."""
    plan = TrainingPlan(dataset.heights, dataset.widths, model.input_policy, 1, shuffle=False)
    batches = training_batches(
        dataset, plan, anchor_generator=model.anchor_generator, horizontal_flip=False
    )
    positives, negatives = [], []
    for images, targets in batches.take(len(dataset)):
        logits = np.float64(model(images)["class_logits"][0])
        for anchor, match in enumerate(targets["matches"].numpy()[0]):
            for k, x in enumerate(logits[anchor]):
                p = 1 / (1 + np.exp(-x))
                if match >= 0 and targets["gt_labels"].numpy()[0][match] == k:
                    positives.append(p)
                elif match != IGNORE:
                    assert match >= BACKGROUND
                    negatives.append(1 - p)
    return positives, negatives


def test_every_example_of_the_data_set(model, demo_sets):
    found = sample_probabilities(model, demo_sets[1])
    for ours, expected in zip(found, by_loops(model, demo_sets[1])):
        assert len(ours) == len(expected) > 0
        np.testing.assert_allclose(np.sort(ours), np.sort(expected), rtol=1e-5)


def test_background_is_sampled_evenly_and_repeatably(model, demo_sets):
    positives, negatives = sample_probabilities(model, demo_sets[1], max_negatives=300)
    assert len(negatives) == 300
    again = sample_probabilities(model, demo_sets[1], max_negatives=300)
    np.testing.assert_array_equal(again[1], negatives)
    assert len(again[0]) == len(positives), "foreground is rare, and all of it is taken"


def test_softmax_scores_add_up_with_background(make_tiny):
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype("float32")
    model = make_tiny(class_activation="softmax", prior=0.2)
    scores = class_probabilities(model, images)
    # At the start the classes together have the prior (section 4.1).
    np.testing.assert_allclose(scores.sum(axis=1), 0.2, rtol=0.2)
    logits = np.float64(model(images)["class_logits"][0])
    exp = np.exp(logits)
    np.testing.assert_allclose(scores, exp / (1 + exp.sum(axis=1, keepdims=True)), rtol=1e-6)
