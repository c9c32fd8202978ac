"""Iterators that a thread fills in advance."""

import collections
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(items: Iterator[Item], most: int) -> Iterator[Item]:
    """Yield the items, which a thread makes in advance, at most so many; its errors are raised."""
    waiting: queue.Queue = queue.Queue(most)
    is_given_up = threading.Event()
    thread = threading.Thread(
        target=_fill, args=(waiting, items, is_given_up), name="prefetch", daemon=True
    )
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        is_given_up.set()
        thread.join()


def mapped_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], at_once: int
) -> Iterator[Result]:
    """Yield what `work` returns of each item, in order; so many are at work at once.

    Twice as many are asked for in advance at most. An error is raised in its turn.
    """
    pool = ThreadPoolExecutor(at_once)
    waiting: collections.deque[Future[Result]] = collections.deque()
    try:
        for item in items:
            if len(waiting) == 2 * at_once:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fill(waiting: queue.Queue, items: Iterator, is_given_up: threading.Event) -> None:
    try:
        for item in items:
            if not _put(waiting, ("item", item), is_given_up):
                return
        _put(waiting, ("end", None), is_given_up)
    except BaseException as error:  # raised where the items are used
        _put(waiting, ("error", error), is_given_up)


def _put(waiting: queue.Queue, entry: tuple[str, Any], is_given_up: threading.Event) -> bool:
    """Put an entry into the queue as soon as there is room; return False if it is not wanted."""
    while not is_given_up.is_set():
        try:
            waiting.put(entry, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
