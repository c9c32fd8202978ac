"""How often training shows each image: data sets mixed by weights, and rare classes repeated."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from keras_retinanet.data.dataset import DetectionDataset


def mix_datasets(
    datasets: Sequence[DetectionDataset], weights: Sequence[float], names: Sequence[str]
) -> DetectionDataset:
    """Return one data set of the images of several, each shown by its share of the weights.

    An epoch has as many draws as there are images in all. Classes are united by name, in the order
    in which they first occur, and keep the category ids of the first data set that has them unless
    another class has that id already. Image ids that occur twice are prefixed by the data set's
    name.

    Args:
        weights: shares of the draws, of any sum; a weight of 0 leaves a data set's images out of
            training.
        names: one for each data set, for ids.
    """
    class_names = tuple(dict.fromkeys(name for d in datasets for name in d.class_names))
    united = [d.with_classes(class_names) for d in datasets]
    ids = [image_id for d in datasets for image_id in d.image_ids]
    if len(set(map(str, ids))) < len(ids):
        ids = [f"{name}/{i}" for d, name in zip(datasets, names) for i in d.image_ids]
    total, sum_of_weights = len(ids), float(sum(weights))
    repeats = [
        np.ones(len(d)) if d.repeats is None else d.repeats / d.repeats.mean() for d in datasets
    ]
    shares = [
        r * (total * weight / sum_of_weights / len(d))
        for r, d, weight in zip(repeats, datasets, weights)
    ]
    counts = np.concatenate([np.diff(d.row_splits) for d in datasets])
    return replace(
        united[0],
        image_paths=[path for d in datasets for path in d.image_paths],
        image_ids=ids,
        heights=np.concatenate([d.heights for d in united]),
        widths=np.concatenate([d.widths for d in united]),
        boxes=np.concatenate([d.boxes for d in united]),
        labels=np.concatenate([d.labels for d in united]),
        is_ignored=np.concatenate([d.is_ignored for d in united]),
        areas=np.concatenate([d.areas for d in united]),
        row_splits=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        category_ids=_category_ids(datasets, class_names),
        findings=[finding for d in datasets for finding in d.findings],
        repeats=np.concatenate(shares),
    )


def repeat_factors(dataset: DetectionDataset, threshold: float) -> np.ndarray:
    """Return how often to show each image [N] so that rare classes are seen more (LVIS).

    max(1, sqrt(threshold / f)) for the rarest class in the image, f being the share of the images
    that have the class (Gupta et al. 2019, appendix B). Images without objects have 1.
    """
    is_object = ~dataset.is_ignored
    image = np.repeat(np.arange(len(dataset)), np.diff(dataset.row_splits))[is_object]
    label = dataset.labels[is_object]
    pairs = np.unique(np.stack([image, label]), axis=1)
    share = np.bincount(pairs[1], minlength=len(dataset.class_names)) / len(dataset)
    factor = np.sqrt(threshold / np.maximum(share, 1 / len(dataset)))
    result = np.ones(len(dataset))
    np.maximum.at(result, pairs[0], factor[pairs[1]])
    return result


def image_repeats(
    dataset: DetectionDataset, threshold: float | None, limit: int | None = None
) -> np.ndarray | None:
    """Return the data set's own repeats times the repeat factors; None: every image once.

    Args:
        threshold: of the repeat factors; None: without them.
        limit: an epoch shows at most so many images, each in its share; None: all.
    """
    repeats = dataset.repeats
    if threshold is not None:
        factors = repeat_factors(dataset, threshold)
        repeats = factors if repeats is None else factors * repeats
    shown = len(dataset) if repeats is None else repeats.sum()
    if limit is None or shown <= limit:
        return repeats
    return (np.ones(len(dataset)) if repeats is None else repeats) * (limit / shown)


def _category_ids(
    datasets: Sequence[DetectionDataset], class_names: Sequence[str]
) -> tuple[int, ...]:
    ids: dict[str, int] = {}
    for dataset in datasets:
        taken = set(ids.values())
        for name, category_id in zip(dataset.class_names, dataset.category_ids):
            if name not in ids and category_id not in taken:
                ids[name] = category_id
    free = iter(sorted(set(range(1, 2 * len(class_names) + 1)) - set(ids.values())))
    return tuple(ids[name] if name in ids else next(free) for name in class_names)


def sample_images(dataset: DetectionDataset, count: int, seed: int) -> np.ndarray:
    """Return the indices of `count` random images, or of all, in the order of the data set."""
    count = min(count, len(dataset))
    return np.sort(np.random.default_rng(seed).choice(len(dataset), count, replace=False))
