"""A pool of threads with a memory limit: order, limit, early end, and warning filters."""

import threading
import time
import warnings
from contextlib import closing

import pytest

from mnistref.sources.thread_pool import BoundedThreadPool, StoppableFile, StoppedError


def test_thread_pool_bounds_the_memory_of_its_threads():
    pool, most, now, lock = BoundedThreadPool(100), 0, 0, threading.Lock()

    def work(size: int) -> int:
        nonlocal most, now
        with pool.reserve_memory(size):
            with lock:
                now += size
                most = max(most, now)
            time.sleep(0.002)
            with lock:
                now -= size
        return size

    sizes = [1 + (37 * k) % 100 for k in range(60)]
    assert list(pool.map(work, sizes, "test")) == sizes
    assert 50 < most <= 100


def test_thread_pool_stops_when_its_block_is_left(tmp_path):
    """Covers threads waiting for memory, reading, and not yet started."""
    pool, begun = BoundedThreadPool(100), []
    (tmp_path / "file").write_bytes(bytes(100))

    def work(k: int) -> None:
        begun.append(k)
        if k:
            with pool.reserve_memory(60), StoppableFile(tmp_path / "file", pool) as file:
                while True:
                    file.seek(0)
                    file.read(10)

    begin = time.monotonic()
    with closing(pool.map(work, range(1000), "test")) as results:
        next(results)
    assert time.monotonic() - begin < 5
    assert len(begun) < 100
    with pytest.raises(StoppedError):
        pool.raise_if_stopped()


def test_thread_pool_restores_the_warning_filters():
    before = list(warnings.filters)
    list(BoundedThreadPool().map(lambda k: warnings.warn("no one sees this", stacklevel=1), range(3), "test"))
    assert warnings.filters == before
