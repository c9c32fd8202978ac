"""mmdetection's files: what is missing, unknown, of another shape or cut off is refused."""

import numpy as np
import pytest

from keras_retinanet.errors import WeightsError
from keras_retinanet.weights.import_weights import import_weights
from keras_retinanet.weights.sources.coco_classes import COCO_CLASSES
from tests.weights.reference_networks import MMDETECTION, random_arrays
from tests.weights.torch_writer import write_torch

META = {"mmdet_version": "2.25.0", "config": "style='pytorch'"}


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(MMDETECTION, 80, np.random.default_rng(0))


def write(path, arrays, **options):
    return write_torch(
        path, arrays, wrap=lambda state: {"meta": META, "state_dict": state}, **options
    )


def without(arrays, *parts):
    return {n: a for n, a in arrays.items() if not any(part in n for part in parts)}


def zeros(*shape):
    return np.zeros(shape, np.float32)


CLASSES = "bbox_head.retina_cls"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: without(a, "neck.fpn_convs.4.conv.bias"),
            r"fpn_convs\.4\.conv\.bias is missing",
        ),
        (
            lambda a: without(a, "backbone.bn1.running_var"),
            r"backbone\.bn1\.running_var is missing",
        ),
        (lambda a: without(a, "reg_convs.2"), r"reg_convs\.2\.conv\.weight is missing"),
        (
            lambda a: a | {"bbox_head.retina_iou.weight": zeros(9, 256, 3, 3)},
            r"bbox_head\.retina_iou\.weight is no part of it",
        ),
        (
            lambda a: a | {"neck.fpn_convs.5.conv.bias": zeros(256)},
            r"neck\.fpn_convs\.5\.conv\.bias is no part of it",
        ),
        (
            lambda a: (
                a | {f"{CLASSES}.weight": zeros(729, 256, 3, 3), f"{CLASSES}.bias": zeros(729)}
            ),
            "its class head has 81 outputs: with a background as one of the classes",
        ),
        (
            lambda a: a | {"neck.fpn_convs.3.conv.weight": zeros(256, 256, 3, 3)},  # of P5
            r"fpn_convs\.3\.conv\.weight is \(256, 256, 3, 3\), which does not fit \(3, 3, 2048, ",
        ),
        (
            lambda a: a | {f"{CLASSES}.bias": zeros(80)},
            r"retina_cls\.bias is \(80,\), which does not fit \(720,\)",
        ),
        (lambda a: without(a, "layer3.5."), "no ResNet of 50, 101 or 152 layers"),
        (lambda a: without(a, "retina_cls"), "no RetinaNet of torchvision, detectron2, mmdet"),
    ],
)
def test_what_does_not_fit_is_refused(arrays, tmp_path, change, message):
    file = write(tmp_path / "epoch_12.pth", change(arrays))
    with pytest.raises(WeightsError, match=rf"epoch_12\.pth: .*{message}") as caught:
        import_weights(file)
    assert "\n" not in str(caught.value)


def test_81_classes_of_one_s_own_need_names(arrays, tmp_path):
    more = {f"{CLASSES}.weight": zeros(729, 256, 3, 3), f"{CLASSES}.bias": zeros(729)}
    file = write(tmp_path / "a.pth", arrays | more)
    names = [f"class {i}" for i in range(81)]
    assert import_weights(file, class_names=names).model.num_classes == 81


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.4, 0.99])
def test_files_that_are_cut_off(arrays, tmp_path, is_old, share):
    file = write(tmp_path / "epoch_12.pth", arrays, is_old=is_old)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"epoch_12\.pth") as caught:
        import_weights(file)
    assert "\n" not in str(caught.value)


def test_a_whole_file_has_coco_s_classes(arrays, tmp_path):
    imported = import_weights(write(tmp_path / "a.pth", arrays), source="mmdetection")
    assert imported.model.class_names == tuple(COCO_CLASSES.values())
    with pytest.raises(WeightsError, match="no RetinaNet of detectron2"):
        import_weights(tmp_path / "a.pth", source="detectron2")
