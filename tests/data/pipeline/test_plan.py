import dataclasses

import numpy as np
import pytest

from keras_retinanet.data.demo.demo import write_demo_dataset
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.data.source import load_dataset
from keras_retinanet.geometry.anchors import AnchorGenerator
from keras_retinanet.geometry.input_policy import InputPolicy

LANDSCAPE, PORTRAIT = (48, 64), (80, 40)  # height, width
POLICY = InputPolicy(size=64, max_size=100)


def make_plan(num_landscape=13, num_portrait=6, batch_size=4, **settings):
    sizes = np.array([LANDSCAPE] * num_landscape + [PORTRAIT] * num_portrait)
    sizes = np.random.default_rng(0).permutation(sizes)
    return TrainingPlan(
        sizes[:, 0], sizes[:, 1], batch_size=batch_size, **{"input_policy": POLICY, **settings}
    )


def batches(plan, epoch=0):
    return [plan.batch(epoch, step) for step in range(plan.steps_per_epoch)]


def equal(epoch, other):
    return {name: np.array_equal(epoch[name], other[name]) for name in epoch}


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("counts", [(13, 6), (8, 0), (0, 5), (8, 4), (3, 3), (1, 0), (2, 1)])
def test_every_image_is_shown_once_and_the_last_batch_filled_up(counts, shuffle):
    plan = make_plan(*counts, shuffle=shuffle)
    total = sum(counts)
    for number in range(3):
        index = plan.epoch(number)["index"]
        assert len(index) == plan.steps_per_epoch * 4
        assert plan.steps_per_epoch == -(-total // 4)
        assert sorted(index[:total]) == list(range(total))
        assert set(index[total:]) <= set(range(total))


def test_only_left_overs_share_a_batch_with_the_other_orientation():
    plan = make_plan(13, 6)
    portrait = plan.heights > plan.widths
    shares = [portrait[batch].mean() for batch in batches(plan)]
    assert sorted(shares[:4]) == [0, 0, 0, 1]
    assert 0 < shares[4] < 1


def test_orientations_take_turns_by_chance():
    plan = make_plan(40, 40)
    portrait = plan.heights > plan.widths
    orders = {tuple(portrait[batch[0]] for batch in batches(plan, epoch)) for epoch in range(3)}
    assert len(orders) == 3


def test_a_batch_larger_than_the_data_set_is_filled_up():
    plan = make_plan(2, 1, batch_size=8)
    (batch,) = batches(plan)
    assert len(batch) == 8
    assert set(batch) == {0, 1, 2}
    assert np.bincount(batch).max() <= 3


def test_the_canvas_is_common_to_a_batch_and_no_larger_than_needed():
    plan = make_plan(13, 6)
    epoch = plan.epoch(0)
    scaled = epoch["scaled_size"].reshape(-1, 4, 2)
    canvas = epoch["canvas_size"].reshape(-1, 4, 2)
    assert (canvas == canvas[:, :1]).all()
    assert (canvas % 32 == 0).all()
    np.testing.assert_array_equal(canvas[:, 0], -(-scaled.max(axis=1) // 32) * 32)


def test_sizes_follow_the_policy():
    plan = make_plan(13, 6)
    epoch = plan.epoch(0)
    portrait = (plan.heights > plan.widths)[epoch["index"]]
    # 64 / 48 keeps the longer side below 100; 64 / 40 would not: 100 / 80 is taken.
    np.testing.assert_array_equal(np.unique(epoch["scaled_size"][~portrait], axis=0), [(64, 85)])
    np.testing.assert_array_equal(np.unique(epoch["scaled_size"][portrait], axis=0), [(100, 50)])


def test_a_square_policy_has_one_canvas():
    epoch = make_plan(input_policy=InputPolicy("square", size=100)).epoch(0)
    np.testing.assert_array_equal(np.unique(epoch["canvas_size"], axis=0), [(128, 128)])
    assert set(epoch["scaled_size"].max(axis=1)) == {100}


def test_jitter_draws_all_sizes_for_single_images():
    plan = make_plan(40, 0, sizes=(32, 48, 64))
    shorter = plan.epoch(0)["scaled_size"].min(axis=1)
    assert set(shorter) == {32, 48, 64}
    assert len(set(shorter[:4])) > 1 or len(set(shorter[4:8])) > 1
    assert not np.array_equal(shorter, plan.epoch(1)["scaled_size"].min(axis=1))


def test_an_epoch_is_a_function_of_seed_and_number_alone():
    plan = make_plan(sizes=(32, 64))
    assert all(equal(plan.epoch(5), make_plan(sizes=(32, 64)).epoch(5)).values())
    for other in (dataclasses.replace(plan, seed=1).epoch(5), plan.epoch(6)):
        same = equal(plan.epoch(5), other)
        assert not any(same[name] for name in ("index", "seed", "scaled_size"))


def test_without_shuffling_the_order_stays_and_augmentation_does_not():
    plan = make_plan(shuffle=False)
    same = equal(plan.epoch(0), plan.epoch(1))
    assert same["index"]
    assert not same["seed"]
    landscape = np.flatnonzero(plan.heights <= plan.widths)
    np.testing.assert_array_equal(plan.epoch(0)["index"][:12], landscape[:12])


def test_each_image_gets_a_seed_of_its_own():
    seeds = make_plan().epoch(0)["seed"]
    assert len(np.unique(seeds, axis=0)) == len(seeds)


def test_batch_is_a_part_of_the_epoch():
    plan = make_plan()
    np.testing.assert_array_equal(np.concatenate(batches(plan, 2)), plan.epoch(2)["index"])


class TestRepeats:
    @pytest.mark.parametrize("total", [19, 19.4, 40, 7.2])
    def test_images_are_shown_as_often_as_they_should_be_on_average(self, total):
        repeats = np.random.default_rng(1).uniform(0.1, 2, 19)
        repeats *= total / repeats.sum()
        plan = make_plan(repeats=repeats)
        counts = np.zeros((400, 19))
        for number in range(400):
            index = plan.epoch(number)["index"][: plan.num_draws]
            counts[number] = np.bincount(index, minlength=19)
        assert plan.num_draws == round(total) == counts[0].sum()
        assert plan.steps_per_epoch == -(-plan.num_draws // 4)
        exact = repeats * plan.num_draws / total
        np.testing.assert_allclose(counts.mean(axis=0), exact, atol=0.1)
        assert (abs(counts - exact) < 1).all()  # the next whole number below or above

    def test_batches_are_full_and_of_one_orientation(self):
        plan = make_plan(repeats=np.full(19, 1.7))
        portrait = plan.heights > plan.widths
        assert all(len(batch) == 4 for batch in batches(plan))
        assert sum(portrait[b].all() or not portrait[b].any() for b in batches(plan)) >= 7

    def test_one_for_each_image_is_an_epoch_of_all(self):
        index = make_plan(repeats=np.ones(19)).epoch(0)["index"]
        assert sorted(index[:19]) == list(range(19))

    def test_an_image_that_is_never_shown(self):
        repeats = np.ones(19)
        repeats[5] = 0
        assert 5 not in make_plan(repeats=repeats).epoch(0)["index"]

    def test_a_wrong_number_of_them_is_refused(self):
        with pytest.raises(ValueError, match="repeats has 3 numbers, not 19"):
            make_plan(repeats=np.ones(3))


class TestPartners:
    def test_without_mosaic_and_mixup_nobody_has_any(self):
        assert (make_plan().epoch(0)["partners"] == -1).all()

    @pytest.mark.parametrize(("mosaic", "mixup"), [(0.3, 0.0), (0.0, 0.6), (0.5, 0.25), (1, 1)])
    def test_they_come_together_with_their_chances(self, mosaic, mixup):
        plan = make_plan(300, 100, mosaic=mosaic, mixup=mixup)
        partners = plan.epoch(0)["partners"]
        three = (partners[:, :3] >= 0).sum(axis=1)
        assert set(three) <= {0, 3}
        assert (three == 3).mean() == pytest.approx(mosaic, abs=0.08)
        assert (partners[:, 3] >= 0).mean() == pytest.approx(mixup, abs=0.08)
        assert len(np.unique(partners)) > 100
        assert partners.max() < 400

    def test_they_leave_the_other_draws_alone(self):
        same = equal(make_plan().epoch(2), make_plan(mosaic=0.5, mixup=0.5).epoch(2))
        assert not same.pop("partners")
        assert all(same.values())

    def test_images_that_are_never_shown_are_no_partners(self):
        repeats = np.ones(19)
        repeats[5] = 0
        assert 5 not in make_plan(repeats=repeats, mosaic=1.0).epoch(0)["partners"]

    def test_a_batch_names_its_partners(self):
        plan = make_plan(mosaic=0.5, mixup=0.5)
        epoch = plan.epoch(1)
        named = plan.batch(1, 2)
        np.testing.assert_array_equal(named[:4], epoch["index"][8:12])
        partners = epoch["partners"][8:12]
        assert sorted(named[4:]) == sorted(partners[partners >= 0])


class TestOf:
    """The plan of a data set and a model, with nothing said twice."""

    @pytest.fixture
    def dataset(self, tmp_path):
        return load_dataset(write_demo_dataset(tmp_path / "set", num_train=5, num_val=1), "train")

    def test_takes_sizes_policy_and_anchors(self, dataset, make_tiny, small_resnet18):
        anchors = AnchorGenerator(scales=(1.0,))
        policy = InputPolicy("square", 64)
        model = make_tiny(
            channels=8,
            class_names=dataset.class_names,
            anchor_generator=anchors,
            input_policy=policy,
        )
        plan = TrainingPlan.of(dataset, model, batch_size=2, seed=7, mixup=0.5)
        assert (plan.input_policy, plan.anchor_generator) == (policy, anchors)
        assert (plan.batch_size, plan.seed, plan.mixup) == (2, 7, 0.5)
        by_hand = TrainingPlan(dataset.heights, dataset.widths, policy, 2, seed=7, mixup=0.5)
        for name, value in by_hand.epoch(3).items():
            np.testing.assert_array_equal(plan.epoch(3)[name], value)
        # Batches have the model's anchors without being told of them.
        _, targets = next(training_batches(dataset, plan).as_numpy_iterator())
        assert targets["matches"].shape == (2, len(anchors(64, 64)))

    def test_takes_an_input_policy_alone_and_the_data_sets_repeats(self, dataset):
        repeated = dataclasses.replace(dataset, repeats=np.full(5, 2.0))
        plan = TrainingPlan.of(repeated, InputPolicy(), batch_size=2)
        assert plan.num_draws == 10
        assert plan.anchor_generator == AnchorGenerator()
        assert TrainingPlan.of(repeated, InputPolicy(), batch_size=2, repeats=None).num_draws == 5

    def test_other_classes_are_refused(self, dataset, make_tiny, small_resnet18):
        turned = make_tiny(channels=8, class_names=dataset.class_names[::-1])
        with pytest.raises(ValueError, match=r"are not the data set's.*with_classes"):
            TrainingPlan.of(dataset, turned, batch_size=2)
        unnamed = make_tiny(channels=8, num_classes=len(dataset.class_names))
        TrainingPlan.of(dataset, unnamed, batch_size=2)  # 0, 1, ... are no names
