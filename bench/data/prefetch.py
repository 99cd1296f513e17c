"""What is wanted next, made in a thread of its own meanwhile."""

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_NICE = 10
_END = object()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def ahead(make: Callable[[Callable[[], bool]], Iterator[T]], depth: int, modest: bool = False) -> Generator[T]:
    """The items of `make(stopped)`, made by a thread while those before them are used.

    An error there is raised here, in its place. The thread ends when the items do, and when this generator is closed,
    for which it may have to wait for the item in the making: close it however its use ends (`contextlib.closing`).

    Args:
        make: → the items; called in the thread. Where one takes long, it asks `stopped()` now and then, and ends.
        depth: so many items at most are made, or in the making, and not yet taken.
        modest: the thread, and those that it starts, give way to others where there are too few cores (on Linux).
    """
    items: SimpleQueue[Any] = SimpleQueue()
    room, stop = threading.Semaphore(depth), threading.Event()

    def work() -> None:
        try:
            if modest:
                _give_way()
            made = make(stop.is_set)
            item: Any = None
            while item is not _END:
                room.acquire()
                if stop.is_set():
                    return
                item = next(made, _END)
                items.put(item)
                item = item if item is _END else None  # held by nobody but its user
        except BaseException as error:
            items.put(_Failed(error))

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            taken = [items.get()]
            if taken[0] is _END:
                return
            if isinstance(taken[0], _Failed):
                raise taken[0].error
            room.release()
            yield taken.pop()
    finally:
        stop.set()
        room.release()
        thread.join()


def _give_way() -> None:
    """Lower the priority of the calling thread; on Linux each has its own, and hands it on to those it starts."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
