"""Many files at once: threads that stop within a moment when they are told to, and share a bounded memory."""

import ctypes
import io
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Event
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_MEMORY_BYTES = 600_000_000
"""Bytes that photos which are being decoded may take, all threads together."""
MAX_THREADS = 8
_POLL_SECONDS = 0.2  # seconds after which a thread that waits for memory looks whether it is to stop


_TRIM_BYTES = 1 << 25


def _return_freed_memory() -> None:
    """To the system. The GNU C library would keep that of photos, in every thread's own heap."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Pillow warns of and logs from being seen."""
    logger = logging.getLogger("PIL")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class StoppedError(Exception):
    """Raised in a thread for whose work nobody waits any more."""


class BoundedThreadPool:
    """What the threads of one piece of work share: whether to go on, and how much memory is left."""

    def __init__(self, memory: int = MAX_MEMORY_BYTES) -> None:
        self.memory, self._left = memory, memory
        self._stop, self._released = Event(), Condition()

    def raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise StoppedError

    @contextmanager
    def reserve_memory(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes, which are no more than `memory`, are left, and have them for the block."""
        with self._released:
            while self._left < size:
                self.raise_if_stopped()
                self._released.wait(_POLL_SECONDS)
            self._left -= size
        try:
            yield
        finally:
            if size > _TRIM_BYTES:
                _return_freed_memory()
            with self._released:
                self._left += size
                self._released.notify_all()

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], what: str
    ) -> Generator[Result, None, None]:
        """function(item) of each, in order, a few ahead of who asks. Closed or interrupted, it ends in a moment.

        Libraries' warnings are kept from stderr: a photo is used, or an error names it.
        """
        threads = min(MAX_THREADS, os.cpu_count() or 1)
        ahead: deque[Future[Result]] = deque()
        bar = tqdm(total=len(items), desc=what, unit=" photos", disable=None, leave=False)
        with bar, _quiet(), ThreadPoolExecutor(threads) as pool:
            try:
                for item in items:
                    ahead.append(pool.submit(function, item))
                    if len(ahead) >= 2 * threads:
                        yield ahead.popleft().result()
                        bar.update()
                while ahead:
                    yield ahead.popleft().result()
                    bar.update()
            finally:
                self._stop.set()
                for future in ahead:
                    future.cancel()


class StoppableFile(io.FileIO):
    """A file to be read as long as the crew goes on, so that a decoder that is in the middle of it stops, too."""

    def __init__(self, path: Path, pool: BoundedThreadPool) -> None:
        super().__init__(path)
        self._crew = pool

    def read(self, size: int | None = -1, /) -> Any:
        self._crew.raise_if_stopped()
        return super().read(-1 if size is None else size)
