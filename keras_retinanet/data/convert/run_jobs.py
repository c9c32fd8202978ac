"""The jobs of a conversion, several at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from keras_retinanet.data.convert.split import Job


def run_jobs(
    jobs: Sequence[Job], on_progress: Callable[[int, int], None], *, num_done: int = 0
) -> Iterator[tuple[Job, Any]]:
    """Run all jobs; yield each with its result, as they end.

    Args:
        on_progress: called with the number of images done, and of all.
        num_done: images done before, which count in both.
    """
    done, total = num_done, num_done + sum(job.num_images for job in jobs)
    if not jobs:
        on_progress(done, total)
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        running = {pool.submit(job.run): job for job in jobs}
        for future in as_completed(running):
            job = running.pop(future)
            result = future.result()
            done += job.num_images
            on_progress(done, total)
            yield job, result
    finally:
        # After a failure or Ctrl-C, what has not begun does not begin.
        pool.shutdown(cancel_futures=True)
