"""ResNet-50, which takes seconds to build: once as Keras has it, once as the paper's RetinaNet."""

import keras
import pytest

from keras_retinanet.models.retinanet import RetinaNet


@pytest.fixture(scope="session")
def keras_resnet50():
    keras.utils.set_random_seed(0)
    return keras.applications.ResNet50(include_top=False, weights=None)


@pytest.fixture(scope="session")
def resnet50_file(keras_resnet50, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet50.weights.h5"
    keras_resnet50.save_weights(path)
    return str(path)


@pytest.fixture(scope="session")
def retinanet50(resnet50_file):
    """The paper's model for COCO's 80 classes, from a weights file of the backbone."""
    keras.utils.set_random_seed(0)
    return RetinaNet("resnet50", num_classes=80, weights=resnet50_file, batchnorm="trainable")
