"""Executors of shard jobs: threads or processes of this machine, or the workers of a Dask scheduler."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any

from mnistref.common.child_pool import ChildPool
from mnistref.common.errors import RunProblemError, UsageProblemError
from mnistref.common.numba_jit import COMPILED

log = logging.getLogger("mnistref")

MAX_SHARD_BYTES = 600e6
"""Memory for the shards in progress, in bytes. It limits the default number of workers."""
RETRIES = 3
WORKER_TIMEOUT_SECONDS = 60
"""How long to wait for a worker of a cluster, at the start or after the last one has died."""
_CONNECT_TIMEOUT_SECONDS = 8  # for connecting to the scheduler


def default_workers(shard_bytes: int) -> int:
    """Return the default number of workers: one per processor, as far as memory allows.

    Args:
        shard_bytes: memory that one shard takes, in bytes.
    """
    return max(1, min(processors(), int(MAX_SHARD_BYTES // shard_bytes)))


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def local_executor(workers: int) -> Iterator[Executor]:
    """Yield an executor on this machine: threads for compiled code, which releases the GIL, otherwise processes.

    If the block raises, jobs that have not started are cancelled.
    """
    if not COMPILED:
        log.warning("numba is not installed: the reference renderer is used, which is 20 to 60 times slower")
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
    """Yield an executor of child processes, which ignore Ctrl-C and end with this process.

    The children are killed if the block raises. A job whose child dies raises `child_process.ChildDiedError`.
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
    """A thread pool in which each thread runs its jobs in its own child process."""

    def __init__(self, workers: int, pool: ChildPool) -> None:
        super().__init__(workers)
        self._pool = pool

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call that runs in the child process of a thread."""
        return super().submit(self._pool.call, partial(fn, **kwargs), *args)


@contextmanager
def cluster_executor(address: str) -> Iterator[tuple[Executor, Callable[[], None]]]:
    """Yield an executor for the workers of a Dask scheduler, and a function that checks for workers.

    The workers must see the same files under the same paths. Jobs of a worker that dies run again on another one. Call
    the function while waiting: it raises RunProblemError when there has been no worker for a while.

    Args:
        address: tcp://HOST:PORT of the scheduler.

    Raises:
        UsageProblemError: Dask is missing, or no scheduler answers at this address.
        RunProblemError: the scheduler or all workers are gone, or the installations differ.
    """
    try:
        from distributed import CancelledError as Released
        from distributed import Client, KilledWorker
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise UsageProblemError("--scheduler needs Dask: pip install distributed") from error
    if not re.fullmatch(r"((tcp|tls)://)?[^/]+:\d+", address):  # Dask raises an unrelated error for it
        raise UsageProblemError(f"--scheduler {address}: give tcp://HOST:PORT")
    lost = (CancelledError, Released, CommClosedError, TimeoutError)
    with _silenced("distributed"):
        try:
            connect: Any = Client  # distributed has no type hints
            client = connect(address, timeout=_CONNECT_TIMEOUT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise UsageProblemError(
                f"--scheduler {address}: no Dask scheduler answers there; start one with `dask scheduler`"
            ) from error
        try:
            # pure=False: a cached result of an earlier run says nothing about the present files
            yield client.get_executor(retries=RETRIES, pure=False), _WorkerWatch(client, address)
        except KilledWorker as error:
            raise RunProblemError(
                f"--scheduler {address}: workers died repeatedly, perhaps for lack of memory; run again with "
                "fewer threads per worker"
            ) from error
        except ImportError as error:
            raise RunProblemError(
                f"--scheduler {address}: {error} on the cluster; install the same version on its scheduler and workers"
            ) from error
        except lost as error:
            raise RunProblemError(
                f"--scheduler {address}: the scheduler is gone; start it and run again to resume"
            ) from error
        finally:
            with suppress(*lost):
                client.close(timeout=_CONNECT_TIMEOUT_SECONDS)


class _WorkerWatch:
    """Raises RunProblemError when a cluster has had no worker for `WORKER_TIMEOUT_SECONDS`."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address, self._last_seen = client, address, monotonic()

    def __call__(self) -> None:
        with suppress(OSError):  # the client reconnects; if it cannot, it cancels the futures
            if self._client.scheduler_info()["workers"]:
                self._last_seen = monotonic()
        if monotonic() - self._last_seen > WORKER_TIMEOUT_SECONDS:
            raise RunProblemError(
                f"--scheduler {self._address}: no worker within {WORKER_TIMEOUT_SECONDS} s; start one with "
                f"`dask worker {self._address}` and run again to resume"
            )


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Silence the loggers of a library, whose messages repeat the error of the command."""
    loggers = [logging.getLogger(n) for n in (name, *logging.root.manager.loggerDict) if f"{n}.".startswith(f"{name}.")]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)
