"""Iterators that a thread fills in advance."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterator[Item], most: int) -> Iterator[Item]:
    """Yield the items, which a thread makes in advance, at most so many; its errors are raised."""
    waiting: queue.Queue = queue.Queue(most)
    is_given_up = threading.Event()

    def put(entry: tuple[str, Any]) -> bool:
        while not is_given_up.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as error:  # raised where the items are used
            put(("error", error))

    thread = threading.Thread(target=fill, name="prefetch", daemon=True)
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
