"""Execution of the runs of a sweep, by worker processes of this machine or by the workers of a Dask cluster."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

import torch

from bench.runs import subprocess_worker
from bench.runs.subprocess_worker import RunOutcome, RunTask
from mnistref.generation.executors import cluster_executor, processors

Key = TypeVar("Key")

POLL_SECONDS = 5.0
"""Interval between two checks that a cluster is still connected."""


class Launcher:
    """Does runs by an executor.

    Args:
        executor: calls `launch` for several runs at a time.
        launch: does a run, and returns its outcome.
        require_connected: called while no run ends. It raises an error if the executor no longer works.
        workers: number of runs at a time; None if it is unknown.
        threads: number of CPU threads of each run; None if it is unknown.
    """

    def __init__(
        self,
        executor: Executor,
        launch: Callable[[RunTask], RunOutcome],
        require_connected: Callable[[], None] = lambda: None,
        workers: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.workers, self.threads = workers, threads
        self.on_wait: Callable[[], object] = lambda: None
        """Called every POLL_SECONDS while no run ends."""
        self._executor, self._launch, self._require_connected = executor, launch, require_connected

    def run_all(self, tasks: Mapping[Key, RunTask]) -> Iterator[tuple[Key, RunOutcome]]:
        """Do the runs, and yield the key and the outcome of each when it ends."""
        key_of: dict[Future[RunOutcome], Key] = {}
        finished: SimpleQueue[Future[RunOutcome]] = SimpleQueue()
        for key, task in tasks.items():
            future = self._executor.submit(self._launch, task)
            key_of[future] = key
            future.add_done_callback(finished.put)
        for _ in tasks:
            future = self._wait(finished)
            yield key_of[future], future.result()

    def _wait(self, finished: "SimpleQueue[Future[RunOutcome]]") -> Future[RunOutcome]:
        while True:
            try:
                return finished.get(timeout=POLL_SECONDS)
            except Empty:
                self._require_connected()
                self.on_wait()


def list_visible_gpus(count: int, visible: str | None) -> list[str]:
    """Return the names of the GPUs of this process, each as a value for CUDA_VISIBLE_DEVICES of another process.

    Args:
        count: number of GPUs that PyTorch finds.
        visible: CUDA_VISIBLE_DEVICES of this process, which may name other GPUs than the first ones; None if it is
            unset.
    """
    names = [name.strip() for name in visible.split(",")] if visible else []
    return names[:count] if len(names) >= count else [str(k) for k in range(count)]


def assign_workers(workers: int | None, gpus: Sequence[str]) -> list[str | None]:
    """Return the GPU of each worker. Workers are assigned to GPUs in turn.

    Args:
        workers: number of workers; None for one worker for each GPU, or one worker if there is no GPU.
        gpus: names of the GPUs.
    """
    if not gpus:
        return [None] * (workers or 1)
    return [gpus[k % len(gpus)] for k in range(workers or len(gpus))]


@contextmanager
def local_workers(device: str, workers: int | None = None, threads: int | None = None) -> Iterator[Launcher]:
    """Inside this context, worker processes of this machine do the runs. They are terminated at the end.

    Args:
        device: "cpu" or "cuda".
        workers: number of runs at a time; None for one, or one for each GPU. Each worker uses one GPU.
        threads: number of CPU threads of each worker; None to divide the cores among the workers, where OMP_NUM_THREADS
            limits the number, as in a run without workers.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = list_visible_gpus(torch.cuda.device_count(), visible) if device == "cuda" else []
    assigned = assign_workers(workers, gpus)
    threads = threads or _default_threads(len(assigned))
    running = subprocess_worker.RunningProcesses()
    all_workers = [subprocess_worker.Worker(threads, gpu, running) for gpu in assigned]
    idle: SimpleQueue[subprocess_worker.Worker] = SimpleQueue()
    for worker in all_workers:
        idle.put(worker)

    def launch(task: RunTask) -> RunOutcome:
        worker = idle.get()
        try:
            return worker.launch(task)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(len(assigned))
    try:
        yield Launcher(pool, launch, workers=len(assigned), threads=threads)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        running.terminate()  # idle processes, too
        pool.shutdown()
        for worker in all_workers:
            worker.close()


def _default_threads(workers: int) -> int:
    """Return the number of CPU threads of each worker if the user gave none."""
    share = max(1, processors() // workers)
    return min(share, torch.get_num_threads()) if "OMP_NUM_THREADS" in os.environ else share


@contextmanager
def dask_workers(address: str, threads: int | None) -> Iterator[Launcher]:
    """Inside this context, the workers of a Dask scheduler do the runs, one at a time on each of their threads.

    Args:
        address: address of the scheduler.
        threads: number of CPU threads of each run; None for PyTorch's default.
    """
    with cluster_executor(address) as (executor, require_connected):
        yield Launcher(executor, partial(subprocess_worker.launch, threads=threads), require_connected)
