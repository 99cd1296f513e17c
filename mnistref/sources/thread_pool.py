"""Threads that process many files, stop quickly on request, and share a limited memory."""

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
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_MEMORY_BYTES = 600_000_000
"""Memory of the photos being decoded, for all threads together."""
MAX_THREADS = 8
_POLL_SECONDS = 0.2  # how often a thread that waits for memory checks whether to stop
_TRIM_BYTES = 1 << 25
"""Reservations above this size return freed memory to the system at their end: 32 MiB.

Smaller ones do not, because returning it takes time.
"""


def _return_freed_memory() -> None:
    """Return freed memory to the system. Otherwise glibc keeps it in the heap of each thread."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings and log messages of Pillow."""
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
    """Raised in a worker thread whose result is no longer needed."""


class BoundedThreadPool:
    """Worker threads that share a stop flag and a memory budget.

    A pool works for one call of `map`: the end of that call sets the stop flag, which is never cleared.

    Args:
        memory: budget in bytes.
    """

    def __init__(self, memory: int = MAX_MEMORY_BYTES) -> None:
        self.memory, self._left = memory, memory
        self._stop, self._released = Event(), Condition()

    def raise_if_stopped(self) -> None:
        """Raise StoppedError if the work was stopped."""
        if self._stop.is_set():
            raise StoppedError

    @contextmanager
    def reserve_memory(self, size: int) -> Iterator[None]:
        """Wait for `size` bytes of the budget, and reserve them during the block. `size` is at most `memory`."""
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
        self, function: Callable[[Item], Result], items: Sequence[Item], label: str
    ) -> Generator[Result, None, None]:
        """Yield function(item) for each item in order, computed a few items ahead by threads.

        Closing the generator stops the threads quickly. Warnings of libraries are suppressed: a photo is either used or
        reported in an error.

        Args:
            function: runs in the threads.
            items: its arguments.
            label: label of the progress bar.
        """
        threads = min(MAX_THREADS, os.cpu_count() or 1)
        ahead: deque[Future[Result]] = deque()
        bar = tqdm(total=len(items), desc=label, unit=" photos", disable=None, leave=False)
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
    """A file whose reads raise StoppedError once the pool is stopped, so that decoders stop too."""

    def __init__(self, path: Path, pool: BoundedThreadPool) -> None:
        super().__init__(path)
        self._pool = pool

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as io.FileIO does, unless the pool is stopped."""
        self._pool.raise_if_stopped()
        return super().read(-1 if size is None else size)
