"""What the comparisons with other projects share: pictures, and what counts as the same."""

import numpy as np


def pictures(size, count):
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (count, 8, 8, 3))
    image = np.kron(coarse, np.ones((1, size[0] // 8 + 1, size[1] // 8 + 1, 1)))
    image = image[:, : size[0], : size[1]] + rng.integers(-20, 21, (count, *size, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def assert_same_objects(found, expected, iou_of, *, most):
    assert len(found) == len(expected["scores"]) > 50
    same = (found.labels[:, None] == expected["labels"]) & (
        np.abs(found.scores[:, None] - expected["scores"]) < 1e-4
    )
    # Scores that are equal to four digits may change places, at the end of the list, too.
    last = expected["scores"].min() + (1e-4 if len(found) == most else 0)
    ours, theirs = found.scores >= last, expected["scores"] >= last
    assert ours.sum() > 0.9 * len(found) and theirs.sum() > 0.9 * len(found)
    overlap = np.where(same, iou_of(found.boxes, expected["boxes"]), 0)
    assert overlap[ours].max(axis=1).min() > 0.999 and overlap[:, theirs].max(axis=0).min() > 0.999
