"""Where shards are made: on threads or processes of this machine, or on the workers of a Dask scheduler."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

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

    When the block ends early, what has not begun is dropped.
    """
    if not COMPILED:
        log.warning("numba is not installed: images are drawn by the reference renderer, some twenty times slower")
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
    """Processes that leave Ctrl-C to their parent, and end at once if the block ends early or the parent is killed."""
    context = get_context("spawn")
    life, held = context.Pipe(duplex=False)
    with life, held:
        executor = _Processes(workers, mp_context=context, initializer=_begin, initargs=(life,))
        try:
            yield executor
        except BaseException:
            held.close()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


class _Processes(ProcessPoolExecutor):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        """May start a process."""
        with _interrupts_later():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started in the block, and from this one until its end."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _begin(life: Connection) -> None:
    """In a worker: leave Ctrl-C, which reaches every process of a terminal, to the parent, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(life,), daemon=True).start()


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
