"""Prefetching: a thread makes the next items while the current one is used."""

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_NICE_INCREMENT = 10
_END = object()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetch(make: Callable[[Callable[[], bool]], Iterator[T]], depth: int, modest: bool = False) -> Generator[T]:
    """Yield the items of `make(stopped)`, which a thread makes ahead of their use.

    An error in the thread is raised at the position of the item. The thread ends after the last item, or when this
    generator is closed. Closing waits for the item that is being made. Always close the generator, for example by
    `contextlib.closing`.

    Args:
        make: returns the items; called in the thread. If an item takes long, it should call `stopped()` from time to
            time, and end if it returns True.
        depth: maximal number of items that are made, or being made, and not yet used.
        modest: whether the thread, and threads that it starts, run at a lower priority (Linux only).
    """
    items: SimpleQueue[Any] = SimpleQueue()
    free_places, stop = threading.Semaphore(depth), threading.Event()

    def work() -> None:
        try:
            if modest:
                _lower_priority()
            iterator = make(stop.is_set)
            item: Any = None
            while item is not _END:
                free_places.acquire()
                if stop.is_set():
                    return
                item = next(iterator, _END)
                items.put(item)
                item = item if item is _END else None  # drop the reference, so that only the consumer holds the item
        except BaseException as error:
            items.put(_Failure(error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            taken = [items.get()]
            if taken[0] is _END:
                return
            if isinstance(taken[0], _Failure):
                raise taken[0].error
            free_places.release()
            yield taken.pop()
    finally:
        stop.set()
        free_places.release()
        thread.join()


def _lower_priority() -> None:
    """Lower the priority of the calling thread.

    On Linux each thread has its own priority, and passes it on to threads that it starts.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE_INCREMENT)
