"""The input size: what objects show against what steps cost, by closed forms."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.geometry.input_policy import InputPolicy
from keras_retinanet.geometry.tiling import Tiling
from keras_retinanet.training.planning.input_size import (
    HALF_LEARNT,
    HALF_LEARNT_FROM_NOTHING,
    HALF_VISIBLE,
    LEAST_GAIN,
    MOST_SAMPLED,
    SIZES,
    InputSize,
    best,
    candidates,
    policy_of,
    sampled,
    tilings,
    weigh,
)


def weighed(dataset, size, *, seen=1000.0, is_pretrained=True):
    return weigh(
        dataset,
        size,
        num_images=len(dataset),
        seen_in_time=lambda pixels: seen,
        is_pretrained=is_pretrained,
    )


def test_visibility_is_the_mean_of_the_classes(make_dataset):
    """Nine objects of class 0 at 48 px and one of class 1 at 24 px: 4/5 and 1/2."""
    dataset = make_dataset([96.0] * 9 + [48.0], labels=[0] * 9 + [1])
    worth = weighed(dataset, InputSize(policy_of(240, resize="shorter_side")))
    assert HALF_VISIBLE == 24
    assert worth.visibility == pytest.approx((4 / 5 + 1 / 2) / 2, rel=1e-6)
    assert worth.median_side == pytest.approx(48)
    assert worth.pixels == 256 * 320


@pytest.mark.parametrize(
    ("is_pretrained", "half"), [(True, HALF_LEARNT), (False, HALF_LEARNT_FROM_NOTHING)]
)
def test_half_is_learnt_after_so_many_objects_of_a_class(make_dataset, is_pretrained, half):
    dataset = make_dataset([50.0, 50.0, 50.0, 50.0], labels=[0, 0, 1, 1])
    size = InputSize(policy_of(480, resize="shorter_side"))
    worth = weighed(dataset, size, seen=half / 2, is_pretrained=is_pretrained)
    assert worth.learnt == pytest.approx(0.5)
    assert worth.total == pytest.approx(worth.visibility / 2)


def test_ignored_regions_are_no_objects(make_dataset):
    dataset = make_dataset([64.0, 300.0])
    ignored = dataclasses.replace(dataset, is_ignored=np.tile([False, True], len(dataset)))
    size = InputSize(policy_of(240, resize="shorter_side"))
    assert weighed(ignored, size).median_side == pytest.approx(32)


def test_images_are_not_enlarged_beyond_sense(make_dataset):
    dataset = make_dataset([20.0], height=200, width=300)
    sizes = [size.policy.size for size in candidates(dataset, sizes=SIZES, resize="shorter_side")]
    assert sizes == [192, 224, 256, 288]
    squares = [size.policy.size for size in candidates(dataset, sizes=SIZES, resize="stretch")]
    assert squares == [192, 224, 256, 288, 320, 352, 384, 448]
    tiny = make_dataset([4.0], height=20, width=20)
    assert [s.policy.size for s in candidates(tiny, sizes=SIZES, resize="stretch")] == [192]


def test_tiles_overlap_by_the_largest_objects(make_dataset):
    dataset = make_dataset([30.0] * 19 + [100.0], height=3000, width=4000)
    for size in tilings(dataset):
        tile = size.tiling
        assert size.policy == InputPolicy(resize="square", size=tile.size, max_size=1333)
        assert tile.size * tile.overlap >= np.percentile([30] * 19 + [100], 95) - 1e-6
        assert tile.overlap <= 0.5
    assert {size.tiling.size for size in tilings(dataset)} == {320, 416, 512, 640, 800, 1024}


def test_no_tiles_of_images_that_are_hardly_larger_or_filled_by_objects(make_dataset):
    assert [s.tiling.size for s in tilings(make_dataset([30.0], width=640))] == [320]
    assert not tilings(make_dataset([30.0], height=480, width=639))
    assert not tilings(make_dataset([1800.0], height=2000, width=2600))


def test_tiles_are_weighed_as_the_images_they_are(make_dataset):
    dataset = make_dataset([48.0], num_images=3, height=1024, width=1024)
    size = InputSize(InputPolicy(resize="square", size=512, max_size=1333), Tiling(512, 0.1))
    worth = weighed(dataset, size)
    assert worth.num_images == 3 * len(Tiling(512, 0.1).tiles(1024, 1024))
    assert worth.visibility == pytest.approx(4 / 5)
    assert worth.pixels == 512 * 512


def test_of_equal_ones_the_cheapest_is_taken(make_dataset):
    dataset = make_dataset([50.0])
    worths = [
        dataclasses.replace(
            weighed(dataset, InputSize(policy_of(size, resize="shorter_side"))),
            visibility=visibility,
            learnt=1.0,
        )
        for size, visibility in ((192, 0.5), (224, 0.8), (256, 0.8 + LEAST_GAIN / 2))
    ]
    assert best(worths) is worths[1]
    better = dataclasses.replace(worths[2], visibility=0.9)
    assert best([*worths, better]) is better


def test_a_sample_is_always_the_same(make_dataset):
    dataset = make_dataset([9.0], num_images=MOST_SAMPLED + 100)
    picked = sampled(dataset)
    assert len(picked) == len(set(picked.image_ids)) == MOST_SAMPLED
    assert picked.image_ids == sampled(dataset).image_ids == sorted(picked.image_ids)
    few = make_dataset([9.0])
    assert sampled(few) is few
