"""What many tests share: TensorFlow's devices, the seed, small inputs, and slow references."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet import cli
from keras_retinanet.geometry.matching import match_anchors
from keras_retinanet.models.backbones import resnet
from keras_retinanet.models.backbones.build import BACKBONES
from keras_retinanet.models.retinanet import RetinaNet
from keras_retinanet.system.buckets.bucket_address import FOLDER_VARIABLE
from keras_retinanet.system.buckets.outgoing import drop_all
from keras_retinanet.training.strategies import make_strategy

# Two replicas without a GPU; possible only before TensorFlow initialises. For the same reason
# `training.strategies.make_strategy` finds two devices in every test: a test that means to train on
# one has to replace that function.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def two_replicas():
    """The only MirroredStrategy of the session: on CPUs, a second one's reductions get mixed up
    with the first one's ("Shape mismatch in the collective instance")."""
    # The one that trainings use: two on the same devices in one process clash.
    return make_strategy()


@pytest.fixture(scope="session")
def random_boxes():
    """A function: rng, how many, the smallest and the largest side, the image's sides -> boxes."""

    def make(rng, count, low=1.0, high=64.0, height=64.0, width=64.0):
        sides = np.exp(rng.uniform(np.log(low), np.log(high), (count, 2)))
        centres = rng.uniform((0, 0), (width, height), (count, 2))
        return np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def iou_by_loops():
    """Pairwise IoU in float64, pair by pair, unlike the code under test."""

    def area(x1, y1, x2, y2):
        return (x2 - x1) * (y2 - y1) if x2 > x1 and y2 > y1 else 0.0

    def iou(a, b):
        common = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        union = area(*a) + area(*b) - common
        return common / union if union > 0 else 0.0

    def pairwise(boxes_a, boxes_b):
        lists = np.asarray(boxes_a, np.float64).tolist(), np.asarray(boxes_b, np.float64).tolist()
        values = [iou(a, b) for a in lists[0] for b in lists[1]]
        return np.array(values, np.float64).reshape(len(boxes_a), len(boxes_b))

    return pairwise


@pytest.fixture(scope="session")
def make_tiny():
    """A function that builds a RetinaNet-18 with narrow heads, the same values on every call."""

    def make(num_classes=3, channels=16, **settings):
        keras.utils.set_random_seed(0)
        settings = {"weights": None, "head_depth": 2, **settings}
        if "class_names" not in settings:
            settings["num_classes"] = num_classes
        return RetinaNet("resnet18", fpn_channels=channels, head_channels=channels, **settings)

    return make


@pytest.fixture(scope="session")
def make_batch(random_boxes):
    """A function: random images and as many objects in each as `counts` says, matched."""

    def make(model, counts, size=64):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (len(counts), size, size, 3), dtype=np.uint8)
        gt_boxes = np.zeros((len(counts), max(*counts, 1), 4), np.float32)
        gt_labels = np.full(gt_boxes.shape[:2], -1, np.int32)
        matches = []
        for i, count in enumerate(counts):
            gt_boxes[i, :count] = random_boxes(rng, count, 24.0, size, size, size)
            gt_labels[i, :count] = rng.integers(0, model.num_classes, count)
            matches.append(
                match_anchors(
                    tf.constant(gt_boxes[i, :count]),
                    tf.zeros((0, 4)),
                    anchor_generator=model.anchor_generator,
                    height=size,
                    width=size,
                    force_match=True,
                )
            )
        targets = {"gt_boxes": gt_boxes, "gt_labels": gt_labels, "matches": np.stack(matches)}
        return images, targets

    return make


@pytest.fixture(scope="module")
def small_resnet18():
    """ResNet-18 with one convolution a stage in place of four: a third of the time to trace."""

    def one_convolution(x, *, filters, strides, name, padding):
        options = {"strides": strides, "name": f"{name}_1", "padding": padding}
        return resnet._conv_bn(x, filters, kernel=3, relu=True, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "_basic_block", one_convolution)
        patch.setitem(BACKBONES, "resnet18", resnet.basic_resnet((1, 1, 1, 1)))
        yield


@pytest.fixture(scope="session")
def assert_same_at_once():
    """A function: serve_bytes, image files -> requests at once give what they give one by one."""

    def check(serve, files):
        def run(file):
            found = serve(image_bytes=tf.constant([file]))
            return {name: value.numpy() for name, value in found.items()}

        alone = [run(file) for file in files]
        with ThreadPoolExecutor(len(files)) as pool:
            together = list(pool.map(run, files))
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a["detection_classes"], b["detection_classes"])
            np.testing.assert_allclose(a["detection_scores"], b["detection_scores"], atol=1e-6)
            np.testing.assert_allclose(a["detection_boxes"], b["detection_boxes"], atol=1e-5)

    return check


@pytest.fixture(scope="session")
def call():
    """A function that runs the command line in this process and returns its exit status."""

    def run(*arguments):
        before, sys.argv = sys.argv, ["retinanet", *map(str, arguments)]
        try:
            cli.main()
        except SystemExit as status:
            return status.code or 0
        finally:
            sys.argv = before
        return 0

    return run


class Bucket:
    """A bucket that tests fill and look into without this package."""

    def __init__(self, address):
        self.address = address
        fsspec = pytest.importorskip("fsspec", reason="buckets need fsspec: pip install fsspec")
        self.files, self._path = fsspec.core.url_to_fs(address)

    def __truediv__(self, name):
        return f"{self.address}/{name}"

    def put(self, name, content):
        self.files.makedirs(f"{self._path}/{name}".rpartition("/")[0], exist_ok=True)
        self.files.pipe_file(f"{self._path}/{name}", content)

    def fill(self, folder, below=""):
        """Copy a local folder, to a folder of the bucket if one is named."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{below}{path.relative_to(folder).as_posix()}", path.read_bytes())

    def read(self, name):
        return self.files.cat_file(f"{self._path}/{name}")

    def remove(self, name):
        self.files.rm(f"{self._path}/{name}", recursive=True)

    def names(self, below=""):
        top = f"{self._path}/{below}"
        return sorted(key[len(self._path) + 1 :] for key in self.files.find(top))


@pytest.fixture
def new_bucket(monkeypatch, tmp_path):
    """A function: "memory" or "file" -> an empty bucket of that kind; local copies are its own."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "local"))
    drop_all()

    def make(kind="memory"):
        if kind == "file":
            return Bucket(f"file://{tmp_path}/bucket")
        bucket = Bucket("memory://bucket")
        bucket.files.store.clear()
        bucket.files.pseudo_dirs[:] = [""]
        return bucket

    yield make
    drop_all()
