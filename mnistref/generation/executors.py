"""Where shards are made: on threads or processes of this machine, or on the workers of a Dask scheduler."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any

from mnistref.common.child_process import ChildPool
from mnistref.common.errors import RunProblemError, UsageProblemError
from mnistref.common.numba_jit import COMPILED

log = logging.getLogger("mnistref")

MAX_SHARD_BYTES = 600e6
"""Bytes that shards in the making may hold, unless the user says how many workers there are."""
RETRIES = 3
WORKER_TIMEOUT_SECONDS = 60
"""Seconds to wait for a worker of a cluster, at the beginning or when all have died."""
_CONNECT_TIMEOUT_SECONDS = 8  # seconds to wait for its scheduler


def default_workers(shard_bytes: int) -> int:
    """One per processor that this process may use, as far as memory reaches."""
    return max(1, min(processors(), int(MAX_SHARD_BYTES // shard_bytes)))


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def local_executor(workers: int) -> Iterator[Executor]:
    """Threads, since compiled code runs without the GIL; the Python renderer needs processes.

    When the block ends early, what has not begun is dropped.
    """
    if not COMPILED:
        log.warning("numba is not installed: images are drawn by the reference renderer, twenty to sixty times slower")
        with processes(workers) as executor:
            yield executor
        return
    threads = ThreadPoolExecutor(workers)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Child processes, which leave Ctrl-C to this one, and end at once if the block ends early or this one is killed.

    A job whose process dies raises `child_process.ChildDiedError`, with the reason.
    """
    pool = ChildPool("mnistref")
    executor = _ChildExecutor(workers, pool)
    try:
        yield executor
    except BaseException:
        pool.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        pool.close()


class _ChildExecutor(ThreadPoolExecutor):
    """Threads that wait for a child process each."""

    def __init__(self, workers: int, pool: ChildPool) -> None:
        super().__init__(workers)
        self._pool = pool

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        return super().submit(self._pool.call, partial(fn, **kwargs), *args)


@contextmanager
def cluster_executor(address: str) -> Iterator[tuple[Executor, Callable[[], None]]]:
    """The workers of the `dask scheduler` at that address; they must see the same files under the same paths.

    A worker that dies has its shards made by another. To be called while one waits: a function that raises when nobody
    is left to wait for.
    """
    try:
        from distributed import CancelledError as Released
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
    except ImportError as error:
        raise UsageProblemError("--scheduler needs Dask: pip install 'mnistref[cluster]'") from error
    if not re.fullmatch(r"((tcp|tls)://)?[^/]+:\d+", address):  # Dask would stumble over its own client
        raise UsageProblemError(f"--scheduler {address}: give tcp://HOST:PORT")
    lost = (CancelledError, Released, CommClosedError, TimeoutError)
    with _silenced("distributed"):
        try:
            client = Client(address, timeout=_CONNECT_TIMEOUT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise UsageProblemError(
                f"--scheduler {address}: no Dask scheduler answers there; start one with `dask scheduler`"
            ) from error
        try:
            # not pure: what a run before returned says nothing about the files that are there now
            yield client.get_executor(retries=RETRIES, pure=False), _WorkerWatch(client, address)
        except KilledWorker as error:
            raise RunProblemError(
                f"--scheduler {address}: workers die again and again, perhaps for want of memory; run again, with "
                "fewer threads for each"
            ) from error
        except ImportError as error:
            raise RunProblemError(
                f"--scheduler {address}: {error} on the cluster; its scheduler and workers need this very installation"
            ) from error
        except lost as error:
            raise RunProblemError(
                f"--scheduler {address}: the scheduler is gone; start it and run again, which goes on"
            ) from error
        finally:
            with suppress(*lost):
                client.close(timeout=_CONNECT_TIMEOUT_SECONDS)


class _WorkerWatch:
    """Raises when a cluster has had no worker for a while."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address, self._last_seen = client, address, monotonic()

    def __call__(self) -> None:
        with suppress(OSError):  # the client tries to connect again; if it cannot, it gives up what we wait for
            if self._client.scheduler_info()["workers"]:
                self._last_seen = monotonic()
        if monotonic() - self._last_seen > WORKER_TIMEOUT_SECONDS:
            raise RunProblemError(
                f"--scheduler {self._address}: no worker within {WORKER_TIMEOUT_SECONDS} s; start one with "
                f"`dask worker {self._address}` and run again, which goes on"
            )


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Keep a library's loggers from stderr: what they would say, our one line says."""
    loggers = [logging.getLogger(n) for n in (name, *logging.root.manager.loggerDict) if f"{n}.".startswith(f"{name}.")]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)
