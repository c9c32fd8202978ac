"""Record files shared out: each worker reads files of its own, and all see one order."""

import logging
import operator

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.convert.convert import convert
from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.images import address
from keras_retinanet.data.images.address import file_of
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.file_shares import FilePlan, by_file, share_out
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.pipeline.plan_stream import planned_images
from keras_retinanet.data.source import load_dataset
from keras_retinanet.errors import ConfigError
from keras_retinanet.geometry.input_policy import InputPolicy

POLICY = InputPolicy(size=64, max_size=100)
WORKERS, PER_SHARE = 8, 2


def make_plan(files, *, num_shares=WORKERS, seed=0, **settings):
    """Return a plan of images in files, some of them portraits."""
    rng = np.random.default_rng(5)
    is_portrait = rng.random(len(files)) < 0.3
    counts = np.bincount(files)
    return FilePlan(
        heights=np.where(is_portrait, 80, 48),
        widths=np.where(is_portrait, 40, 64),
        input_policy=POLICY,
        batch_size=num_shares * PER_SHARE,
        seed=seed,
        files=files,
        share_of_file=share_out(counts, num_shares),
        **settings,
    )


@pytest.fixture(params=[40, 8], ids=["many files", "as many as shares"])
def files(request, rng):
    """Files of about 20 images each, in no order."""
    return rng.permutation(np.repeat(np.arange(request.param), 20)[3:])


@pytest.mark.parametrize("counts", [[5] * 16, list(range(1, 40)), [100, 1, 1, 1, 50, 50, 3, 9, 2]])
def test_each_file_is_in_one_share_and_shares_are_even(counts):
    counts = np.array(counts)
    shares = share_out(counts, WORKERS)
    totals = np.bincount(shares, weights=counts, minlength=WORKERS)
    assert totals.sum() == counts.sum() and totals.min() > 0
    assert totals.max() - totals.min() <= counts.max()
    # Without the last file that it got, the fullest share was the emptiest.
    fullest = counts[shares == totals.argmax()]
    assert totals.max() - fullest.min() <= totals.min()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_workers", [1, 2, 8])
def test_workers_read_disjoint_files_that_are_all_files(files, num_workers, shuffle):
    plan = make_plan(files, shuffle=shuffle, mosaic=0.5, mixup=0.5)
    assert isinstance(plan.steps_per_epoch, int)
    for epoch in range(2):
        read = []
        for worker in range(num_workers):
            stream = planned_images(
                plan,
                first_epoch=epoch,
                num_epochs=epoch + 1,
                worker=worker,
                num_workers=num_workers,
            )
            images = list(stream.as_numpy_iterator())
            assert len(images) == plan.steps_per_epoch * plan.batch_size // num_workers
            shown = {int(image["index"]) for image in images}
            partners = {int(i) for image in images for i in image["partners"] if i >= 0}
            assert len(partners) > 5
            read.append({int(f) for f in files[list(shown | partners)]})
        assert set().union(*read) == set(files.tolist())
        assert sum(map(len, read)) == len(set(files.tolist()))


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_shows_every_image_and_fills_up_short_shares(files, shuffle):
    plan = make_plan(files, shuffle=shuffle)
    orders = []
    for epoch in range(3):
        index = plan.epoch(epoch)["index"]
        assert len(index) == plan.steps_per_epoch * plan.batch_size
        counts = np.bincount(index, minlength=len(files))
        assert counts.min() == 1
        by_share = index.reshape(-1, WORKERS, PER_SHARE).transpose(1, 0, 2).reshape(WORKERS, -1)
        for share, images in enumerate(by_share):
            own = np.flatnonzero(plan.share_of_file[files] == share)
            assert set(images) == set(own)
            # What is shown again is what fills up, at the end.
            assert len(set(images[: len(own) - 8])) == len(own) - 8
        orders.append(index.tolist())
    assert len({tuple(order) for order in orders}) == (3 if shuffle else 1)


def test_only_left_overs_share_a_batch_with_the_other_orientation(files):
    plan = make_plan(files)
    is_portrait = (plan.heights > plan.widths)[plan.epoch(0)["index"]]
    is_mixed = np.ptp(is_portrait.astype(int).reshape(-1, plan.batch_size), axis=1) > 0
    counts = np.stack(
        [
            np.bincount(plan.share_of_file[files[o]], minlength=WORKERS)
            for o in (plan.heights > plan.widths, plan.heights < plan.widths)
        ]
    )
    num_whole = int((counts.min(axis=1) // PER_SHARE).sum())
    assert not is_mixed[:num_whole].any() and num_whole > 0.6 * len(is_mixed)
    assert is_mixed[num_whole:].any()


def test_the_order_is_the_seeds_alone(files):
    one, same, other = make_plan(files), make_plan(files), make_plan(files, seed=1)
    for epoch in (0, 7):
        for name, values in one.epoch(epoch).items():
            np.testing.assert_array_equal(values, same.epoch(epoch)[name])
        assert not np.array_equal(one.epoch(epoch)["index"], other.epoch(epoch)["index"])


def test_few_files_of_a_share_are_read_at_a_time_and_their_images_mixed():
    files = np.repeat(np.arange(60), 50)
    plan = make_plan(files, num_shares=2, files_at_once=5)
    index = plan.epoch(0)["index"].reshape(-1, 2, PER_SHARE)
    for share in range(2):
        read = files[index[:, share].ravel()]
        for start in range(0, 1400, 10):  # of five files with 250 images, or of the next five
            assert len(set(read[start : start + 40])) <= 10
        last = {int(f): int(np.flatnonzero(read[:1450] == f)[-1]) for f in set(read[:1450])}
        first = {int(f): int(np.flatnonzero(read == f)[0]) for f in set(read)}
        spans = [last[f] - first[f] for f in last]
        assert max(spans) < 400  # of 1500
        assert np.mean(read[1:200] != read[:199]) > 0.6


def test_workers_together_see_the_batches_of_one_process(files):
    plan = make_plan(files, sizes=(48, 64))
    parts = [
        list(planned_images(plan, num_epochs=2, worker=w, num_workers=WORKERS).as_numpy_iterator())
        for w in range(WORKERS)
    ]
    step = 0
    for epoch in range(2):
        whole = plan.epoch(epoch)
        for start in range(0, len(whole["index"]), plan.batch_size):
            rows = slice(step * PER_SHARE, (step + 1) * PER_SHARE)
            for name in whole:
                together = np.stack([image[name] for part in parts for image in part[rows]])
                np.testing.assert_array_equal(together, whole[name][start : start + 16])
            step += 1
    assert step * PER_SHARE == len(parts[0])


@pytest.mark.parametrize("worker", [0, 5])
@pytest.mark.parametrize("place", [(0, 3), (1, 0), (1, 7)])
def test_a_stream_that_begins_in_the_middle_goes_on_alike(files, worker, place):
    plan = make_plan(files)
    epoch, step = place
    share = {"worker": worker, "num_workers": WORKERS, "num_epochs": 3}
    whole = list(planned_images(plan, **share).as_numpy_iterator())
    rest = list(
        planned_images(plan, first_epoch=epoch, first_step=step, **share).as_numpy_iterator()
    )
    skipped = (epoch * plan.steps_per_epoch + step) * PER_SHARE
    assert len(rest) == len(whole) - skipped > 20
    for one, other in zip(whole[skipped:], rest, strict=True):
        assert {k: v.tolist() for k, v in one.items()} == {k: v.tolist() for k, v in other.items()}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    data = write_demo_dataset(folder / "set", num_train=32, num_val=1)
    done = convert(data, folder / "out", target="tfrecord", num_shards=16, splits=["train"])
    return load_dataset(done.data_yaml, "train")


def test_batches_of_a_worker_are_its_part_of_one_process(records, monkeypatch):
    plain = TrainingPlan.of(records, POLICY, batch_size=16, seed=3, mosaic=0.3)
    plan = by_file(plain, records.image_paths, WORKERS, num_workers=WORKERS)
    assert isinstance(plan, FilePlan) and plan.seed == 3
    whole = list(training_batches(records, plan, num_epochs=2).as_numpy_iterator())
    assert len(whole) == 2 * plan.steps_per_epoch
    for worker in (0, 5):
        own = np.flatnonzero(plan.share_of_file[plan.files] == worker)
        opened = set()

        def read(path, opened=opened, real=address.read_image_bytes):
            opened.add(file_of(path))
            return real(path)

        with monkeypatch.context() as patch:
            patch.setattr(address, "read_image_bytes", read)
            place = {"worker": worker, "num_workers": WORKERS, "num_epochs": 2, "first_step": 1}
            part = list(training_batches(records, plan, **place).as_numpy_iterator())
        assert opened == {file_of(records.image_paths[i]) for i in own} and len(opened) == 2
        assert len(part) == len(whole) - 1
        rows = slice(worker * PER_SHARE, (worker + 1) * PER_SHARE)
        for batch, expected in zip(part, whole[1:], strict=True):
            own_rows = tf.nest.map_structure(operator.itemgetter(rows), expected)
            tf.nest.map_structure(np.testing.assert_array_equal, batch, own_rows)


@pytest.mark.parametrize(
    ("settings", "shares", "told"),
    [
        ({}, 32, "there are 16 files for 32 shares: write more"),
        ({"batch_size": 12}, 8, "a batch of 12 images has no 8 equal shares"),
        ({"repeats": np.full(32, 0.5)}, 8, "images are drawn by weights"),
        ({"batch_size": 18}, 6, "16 files make uneven shares of 4 to 6 images: write a multiple"),
    ],
)
def test_where_files_cannot_be_shared_out_a_line_says_why(records, caplog, settings, shares, told):
    plain = TrainingPlan.of(records, POLICY, **{"batch_size": 64, **settings})
    with caplog.at_level(logging.WARNING):
        assert by_file(plain, records.image_paths, shares) is plain
    assert told in caplog.text and "every worker reads from all files" in caplog.text


def test_images_that_are_files_are_shared_out_one_by_one(records, caplog):
    plain = TrainingPlan.of(records, POLICY, batch_size=16)
    assert by_file(plain, [f"{i}.jpg" for i in range(32)], 8) is plain
    assert "the images are not in TFRecords" in caplog.text
    caplog.clear()
    assert by_file(plain, records.image_paths, 1, num_workers=8) is plain and not caplog.text
    with pytest.raises(ConfigError, match="file_shares = 8 is no multiple of the 3 workers"):
        by_file(plain, records.image_paths, 8, num_workers=3)
