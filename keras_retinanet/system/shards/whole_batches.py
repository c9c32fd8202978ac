"""Results of images in the order of a runtime, put together as the batches that they are of."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


def by_batch(
    batches: Sequence[np.ndarray],
    todo: Sequence[int],
    detect: Callable[[np.ndarray], Iterable[tuple[int, Result]]],
) -> Iterator[tuple[int, list[tuple[int, Result]]]]:
    """Yield each batch of `todo`, when all of it is done, with (image, result) of its images.

    Args:
        batches: the images of every batch.
        detect: yields the place of an image in the images it is given, and its result.
    """
    if not todo:
        return
    images = np.concatenate([batches[batch] for batch in todo])
    batch_of = {int(image): batch for batch in todo for image in batches[batch]}
    done: dict[int, list[tuple[int, Result]]] = {}
    for place, result in detect(images):
        image = int(images[place])
        batch = batch_of[image]
        done.setdefault(batch, []).append((image, result))
        if len(done[batch]) == len(batches[batch]):
            yield batch, done.pop(batch)
