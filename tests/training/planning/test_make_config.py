"""Plans for data sets, machines and times that are known: every setting has a reason and fits."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.config.load import load_config
from keras_retinanet.errors import ConfigError, DataError, UserError
from keras_retinanet.geometry.tiling import Tiling
from keras_retinanet.training.planning.config_text import config_text
from keras_retinanet.training.planning.decision import config_of
from keras_retinanet.training.planning.make_config import (
    FEWEST_EPOCHS,
    MOST_VIEWS,
    plan_training,
)


@pytest.fixture
def plan(make_dataset, make_resources, linear_times):
    def make(dataset=None, val=None, *, minutes=10.0, resources=None, **options):
        dataset = dataset or make_dataset([40.0, 60.0, 90.0], labels=[0, 1, 2], num_images=200)
        return plan_training(
            dataset,
            val,
            resources or make_resources(),
            minutes=minutes,
            time_steps=options.pop("time_steps", linear_times(dataset=dataset)),
            **options,
        )

    return make


def value(planned, key):
    (decision,) = [d for d in planned.decisions if d.key == key]
    return decision.value


@pytest.mark.parametrize("target", ["server", "edge"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_every_choice_has_a_reason_and_the_same_plan_comes_again(
    plan, make_resources, target, pretrained, tmp_path
):
    resources = make_resources(pretrained=pretrained)
    first, again = (plan(target=target, resources=resources) for _ in range(2))
    assert all(len(decision.reason) > 10 for decision in first.decisions)
    assert len({decision.key for decision in first.decisions}) == len(first.decisions)
    assert first == again
    path = tmp_path / "plan.yaml"
    path.write_text(config_text(first.decisions, title="T"), encoding="utf-8")
    assert load_config(path) == first.config == config_of(first.decisions)
    assert any("random values" in limit for limit in first.limits) != pretrained


@pytest.mark.parametrize("minutes", [2, 10, 60, 600])
def test_a_training_fits_its_time(plan, make_dataset, linear_times, minutes):
    val = make_dataset([40.0, 60.0, 90.0], labels=[0, 1, 2], num_images=50)
    planned = plan(val=val, minutes=minutes)
    train = make_dataset([40.0], num_images=200)
    times = linear_times(dataset=train)(planned.config)
    steps = planned.config.schedule.length * 50
    assert planned.length.steps == steps
    evaluations = -(-planned.config.schedule.length // planned.config.training.evaluate_every)
    spent = times.start + steps * times.step + evaluations * 50 * times.evaluated
    assert spent <= minutes * 60
    assert planned.length.views <= MOST_VIEWS
    if planned.length.views < MOST_VIEWS * 0.9:
        assert spent > minutes * 60 * 0.6  # and makes use of it


def test_more_time_is_used_for_larger_images(plan):
    sizes = [plan(minutes=minutes).config.image.size for minutes in (2, 10, 60, 600)]
    assert sizes == sorted(sizes) and sizes[-1] > sizes[0]


def test_small_objects_ask_for_larger_images(plan, make_dataset):
    small, large = (plan(make_dataset([side] * 5, num_images=200)) for side in (20.0, 200.0))
    assert small.config.image.size > large.config.image.size


def test_huge_photos_with_small_objects_are_cut_into_tiles(plan, make_dataset, linear_times):
    huge = make_dataset([30.0] * 60, num_images=20, height=3000, width=4000)
    planned = plan(huge, minutes=60)
    tile = planned.config.image.tile
    assert tile is not None and tile.size * tile.overlap >= 30
    assert planned.config.image.resize == "square"
    assert planned.config.image.size >= tile.size
    same = make_dataset([600.0] * 4, num_images=20, height=3000, width=4000)
    assert plan(same, minutes=60).config.image.tile is None


def test_of_very_many_images_an_epoch_shows_a_part(plan, make_dataset):
    many = make_dataset([50.0] * 3, labels=[0, 1, 2], num_images=20_000)
    planned = plan(many, minutes=5)
    assert planned.config.schedule.length == FEWEST_EPOCHS
    epoch_images = planned.config.training.epoch_images
    assert epoch_images * FEWEST_EPOCHS == planned.length.steps * 4
    assert planned.length.views == pytest.approx(planned.length.steps * 4 / 20_000)


def test_a_time_that_is_too_short_to_learn_is_told(plan, make_resources):
    def is_told(minutes):
        planned = plan(resources=make_resources(pretrained=False), minutes=minutes)
        return any("AP will still be rising" in limit for limit in planned.limits)

    assert is_told(2) and not is_told(600)


def test_given_settings_are_kept(plan):
    planned = plan(overrides=["image.size=416", "training.batch_size=2", "loss.gamma=1.5"])
    config = planned.config
    assert (config.image.size, config.training.batch_size, config.loss.gamma) == (416, 2, 1.5)
    assert {d.key for d in planned.decisions if d.reason == "given"} == {
        *("image.size", "training.batch_size", "loss.gamma")
    }
    with pytest.raises(ConfigError, match=r"image\.siz"):
        plan(overrides=["image.siz=3"])


def test_weights_of_another_backbone_are_not_taken(plan):
    """The one that was given begins from random values, unless weights are named, too."""
    planned = plan(overrides=["model.backbone=resnet34"])
    assert (planned.config.model.backbone, planned.config.model.weights) == ("resnet34", "none")
    assert any("none are known for resnet34" in limit for limit in planned.limits)
    named = plan(overrides=["model.backbone=resnet34", "model.weights=mine.pth"])
    assert named.config.model.weights == "mine.pth"
    assert not any("random values" in limit for limit in named.limits)


def test_boxes_are_coded_finely_but_for_a_detector_that_codes_them_its_own_way(plan):
    def settings(**options):
        return {decision.key for decision in plan(**options).decisions}

    assert plan().config.model.box_variances == (0.1, 0.1, 0.2, 0.2)
    assert "model.box_variances" not in settings(overrides=["model.init_from=mine.keras"])
    assert "model.box_variances" not in settings(target="edge")


def test_given_tiles_are_planned_for(plan, make_dataset):
    """Epochs are counted in tiles, and the input is as large as a tile."""
    huge = make_dataset([30.0] * 6, num_images=20, height=600, width=800)
    planned = plan(huge, minutes=60, overrides=["image.tile={size: 300, overlap: 0.2}"])
    image = planned.config.image
    assert (image.tile.size, image.size, image.resize) == (300, 320, "square")
    num_tiles = 20 * len(Tiling(300, 0.2).tiles(600, 800))
    assert planned.length.views == pytest.approx(planned.length.steps * 4 / num_tiles)
    assert plan(huge, overrides=["image.resize=stretch"]).config.image.resize == "stretch"


def test_too_short_a_time_and_nothing_to_learn(plan, make_dataset):
    with pytest.raises(ConfigError, match=r"are too short: .* give more --minutes"):
        plan(minutes=0.5)
    empty = make_dataset([50.0])
    empty = dataclasses.replace(empty, is_ignored=np.ones_like(empty.is_ignored))
    with pytest.raises(DataError, match="no object"):
        plan(empty)


@pytest.mark.parametrize(
    ("names", "is_flipped"),
    [
        (("car", "bus", "van"), True),
        (("arrow_left", "arrow_right", "stop"), False),
        (("Left hand", "foot", "head"), False),
        (("bright", "cleft", "a-leftover"), True),
        (("0", "1", "2"), False),
    ],
)
def test_what_mirroring_changes_is_not_mirrored(plan, make_dataset, names, is_flipped):
    dataset = make_dataset([50.0] * 3, labels=[0, 1, 2], names=names, num_images=200)
    assert plan(dataset).config.image.horizontal_flip is is_flipped


def test_rare_classes_and_crowded_images(plan, make_dataset):
    dataset = make_dataset([12.0] * 150, labels=[0, 1] * 75, num_images=100)
    labels = dataset.labels.copy()
    labels[:3] = 2  # in one image of a hundred
    rare = dataclasses.replace(dataset, labels=labels)
    planned = plan(rare)
    assert planned.config.training.repeat_threshold == 0.05
    assert planned.config.inference.max_detections == 300
    common = plan()
    assert common.config.training.repeat_threshold is None
    assert common.config.inference.max_detections == 100


def test_images_are_kept_decoded_where_memory_allows(plan, make_resources):
    assert plan().config.training.cache == "memory"
    little = make_resources(memory=400_000_000)  # 200 images take 184 MB
    assert plan(resources=little).config.training.cache == "none"


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({}, "float32"),
        ({"units": ("avx2", "avx512_bf16")}, "float32"),
        ({"units": ("avx2", "amx_bf16")}, "mixed_bfloat16"),
        ({"gpus": ("T4",), "capability": (7, 5)}, "mixed_float16"),
        ({"gpus": ("A100",), "capability": (8, 0)}, "mixed_bfloat16"),
        ({"gpus": ("K80",), "capability": (3, 7)}, "float32"),
    ],
)
def test_the_precision_is_what_the_machine_is_fast_at(plan, make_resources, options, precision):
    planned = plan(resources=make_resources(**options))
    assert planned.config.model.precision == precision
    assert planned.config.training.batch_size == (16 if "gpus" in options else 4)


@pytest.fixture
def precision_times(make_dataset, linear_times):
    """Times that precisions multiply."""
    times = linear_times(dataset=make_dataset([40.0]))

    def make(**factors):
        def time_steps(config):
            found = times(config)
            return dataclasses.replace(
                found, step=found.step * factors.get(config.model.precision, 1.0)
            )

        return time_steps

    return make


@pytest.mark.parametrize("target", ["server", "edge"])
@pytest.mark.parametrize(
    ("factor", "precision"),
    [(0.7, "float32"), (0.94, "float32"), (0.96, "mixed_bfloat16"), (3.0, "mixed_bfloat16")],
)
def test_a_matrix_unit_is_used_where_it_saves_time(
    plan, make_resources, precision_times, factor, precision, target
):
    resources = make_resources(units=("amx_bf16",))
    times = precision_times(float32=factor)
    planned = plan(resources=resources, time_steps=times, target=target)
    assert planned.config.model.precision == precision
    (decision,) = [d for d in planned.decisions if d.key == "model.precision"]
    # 384x512 pixels where images keep their shape, 384x384 on a phone
    seconds = 0.05 + 4e-6 * 384 * (384 if target == "edge" else 512)
    assert f"takes {seconds:.2f} s, and {factor * seconds:.2f} s in float32" in decision.reason
    slower = precision_times(float32=max(factor, 1.0))
    otherwise = plan(resources=resources, time_steps=slower, target=target)
    assert (planned.length.steps > otherwise.length.steps) == (precision == "float32")


def test_a_machine_that_cannot_train_in_float32_keeps_its_precision(
    plan, make_resources, precision_times
):
    def times(config):
        if config.model.precision == "float32":
            raise UserError("a training step to be timed failed: out of memory")
        return precision_times()(config)

    planned = plan(resources=make_resources(units=("amx_bf16",)), time_steps=times)
    assert planned.config.model.precision == "mixed_bfloat16"
    (decision,) = [d for d in planned.decisions if d.key == "model.precision"]
    assert "in float32, a training step to be timed failed: out of memory" in decision.reason


def test_a_precision_that_was_given_is_kept_and_not_timed_against_another(
    plan, make_resources, precision_times
):
    seen = set()

    def times(config):
        seen.add(config.model.precision)
        return precision_times(float32=0.5)(config)

    given = ["model.precision=mixed_bfloat16"]
    planned = plan(resources=make_resources(units=("amx_bf16",)), time_steps=times, overrides=given)
    assert planned.config.model.precision == "mixed_bfloat16" and seen == {"mixed_bfloat16"}


def test_anchors_fit_better_than_the_papers(plan, make_dataset):
    from keras_retinanet.training.setup.input_batches import make_anchor_recall

    dataset = make_dataset([11.0, 14.0, 17.0], labels=[0, 1, 2], num_images=200)
    planned = plan(dataset)
    paper = planned.config.model_copy(update={"anchors": type(planned.config.anchors)()})
    fitted, plain = (make_anchor_recall(c, dataset).recall for c in (planned.config, paper))
    assert fitted > plain
