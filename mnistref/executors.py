"""Where shards are made: on threads or processes of this machine, or on the workers of a Dask scheduler."""

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread

from mnistref.compiled import COMPILED
from mnistref.errors import RunProblemError, UsageProblemError

log = logging.getLogger("mnistref")

MEMORY = 600e6
"""Bytes that shards in the making may hold, unless the user says how many workers there are."""
RETRIES = 3
_PATIENCE = 60  # seconds to wait for the first worker of a cluster


def default_workers(shard_bytes: int) -> int:
    """One per processor that this process may use, as far as memory reaches."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, int(MEMORY // shard_bytes)))


@contextmanager
def local_executor(workers: int) -> Iterator[Executor]:
    """Threads, since compiled code runs without the GIL; the Python renderer needs processes.

    When the block ends early, what has not begun is dropped, and processes end at once.
    """
    with ExitStack() as stack:
        if COMPILED:
            executor: Executor = ThreadPoolExecutor(workers)
        else:
            log.warning("numba is not installed: images are drawn by the reference renderer, some twenty times slower")
            context = get_context("spawn")
            life, held = (stack.enter_context(end) for end in context.Pipe(duplex=False))
            executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(life,))
        try:
            yield executor
        except BaseException:
            if not COMPILED:
                held.close()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


def _begin(life: Connection) -> None:
    """In a worker: leave Ctrl-C, which reaches every process of a terminal, to the parent, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with, args=(life,), daemon=True).start()


def _end_with(life: Connection) -> None:
    """Wait until the other end, which the parent alone holds, is closed; a killed parent's is, too."""
    with suppress(EOFError, OSError):
        life.recv_bytes()
    os._exit(1)


@contextmanager
def cluster_executor(address: str) -> Iterator[Executor]:
    """The workers of the `dask scheduler` at that address; they must see the same files under the same paths.

    A worker that dies has its shards made by another.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageProblemError("--scheduler needs Dask: pip install 'mnistref[cluster]'") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageProblemError(
            f"--scheduler {address}: no Dask scheduler answers there; start one with `dask scheduler`"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise RunProblemError(
                f"--scheduler {address}: no worker within {_PATIENCE} s; start one with `dask worker {address}`"
            ) from error
        executor = client.get_executor(retries=RETRIES)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)
