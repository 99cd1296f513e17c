"""Many runs: mechanisms × data sets × seeds, the finished ones skipped, done by processes apart from this one.

With one seed, every mechanism gets the same order of the data and the same initial backbone: results are paired.
"""

import errno
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any

import torch

from bench.attention import canonical_name, has_user_module
from bench.attention.plugins import files_of
from bench.compute import ComputeConfig
from bench.config import DEFAULT_DATA_OPTIONS, DEFAULT_WIDTH, DataOptions, Recipe, RunConfig
from bench.runs import experiment, records, subprocess_worker
from bench.runs.subprocess_worker import RunOutcome
from bench.training.progress import ProgressOptions
from mnistref.common.errors import UsageProblemError
from mnistref.generation.executors import cluster_executor, processors

log = logging.getLogger("bench")

NOTHING: Mapping[tuple[str, str], str] = MappingProxyType({})
LOOK = 5.0
"""Seconds between two looks at whether a cluster is still there."""


@dataclass(frozen=True)
class Task:
    """A run to be done, and the data set that it is done on."""

    config: RunConfig
    data: Path
    data_options: DataOptions = DEFAULT_DATA_OPTIONS
    init: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.config.dataset} {self.config.attn} seed {self.config.seed}"

    def as_dict(self, runs: Path, progress_options: ProgressOptions) -> dict[str, Any]:
        """What `bench.runs.subprocess_worker.launch` takes."""
        files = files_of(self.config.attn)
        return {
            "config": self.config.as_dict(),
            "data": str(self.data.resolve()),
            "runs": str(runs.resolve()),
            "watching": asdict(progress_options),
            "files": files,
            "supply": vars(self.data_options),
            "init": str(self.init.resolve()) if self.init else None,
            "alone": has_user_module(self.config.attn),
        }


Starts = Mapping[tuple[str, int], Path]
"""(mechanism, seed) → the run to begin with."""


def plan(
    attns: Sequence[str],
    data: Sequence[Path],
    seeds: int,
    recipe: Recipe,
    queries: str,
    computing: ComputeConfig,
    online: bool = False,
    data_options: DataOptions = DEFAULT_DATA_OPTIONS,
    starts: Starts | None = None,
    width: int = DEFAULT_WIDTH,
) -> list[Task]:
    """Every mechanism on every data set with the seeds 0 … seeds − 1, each once: one seed after the other, so that a
    sweep that is ended early has compared all.

    `starts`: what each begins with, see `starts_in`; those that have nothing to begin with are left out.
    """

    def task(seed: int, folder: Path, attn: str) -> Task:
        init = starts[canonical_name(attn), seed] if starts else None
        config = experiment.configure(folder, attn, seed, recipe, queries, computing, init, online, width)
        return Task(config, folder, data_options, init)

    every = itertools.product(range(seeds), [folder.resolve() for folder in data], attns)
    return list(dict.fromkeys(task(*of) for of in every if starts is None or (canonical_name(of[2]), of[0]) in starts))


def starts_in(runs: Path, attns: Sequence[str], seeds: int) -> tuple[Starts, list[str]]:
    """The runs in a folder that others can begin with: (mechanism, seed) → the one that ended well; and, in words, what
    is missing.

    A usage error where there is none at all, or where there are several of one mechanism and seed.
    """
    found: dict[tuple[str, int], list[Path]] = {}
    for result in records.results(runs):
        if result["status"] == "ok":
            found.setdefault((result["attn"], result["seed"]), []).append(runs / result["run"])
    wanted = list(dict.fromkeys(itertools.product(map(canonical_name, attns), range(seeds))))
    if not any(key in found for key in wanted):
        raise UsageProblemError(f"--init {runs}: no finished run of these mechanisms and seeds in this folder of runs")
    for attn, seed in wanted:
        if len(several := found.get((attn, seed), [])) > 1:
            names = ", ".join(run.name for run in several[:3])
            raise UsageProblemError(f"--init {runs}: more than one finished run of {attn} with seed {seed} ({names})")
    starts = {key: found[key][0] for key in wanted if key in found}
    lacking = [key for key in wanted if key not in found]
    return starts, [f"{attn} seed {seed}: no finished run to begin with in {runs}" for attn, seed in lacking]


def share(tasks: Sequence[Task], shard: tuple[int, int]) -> list[Task]:
    """Of shard (i, n) the part i of n, 1 ≤ i ≤ n: every n-th task, so that the parts cost about the same."""
    index, parts = shard
    return list(tasks[index - 1 :: parts])


def sweep(
    tasks: Sequence[Task],
    runs: Path,
    launcher: "Launcher",
    progress_options: ProgressOptions | None = None,
    unfit: Mapping[tuple[str, str], str] = NOTHING,
) -> dict[Task, RunOutcome]:
    """Do the runs that are not finished, and say of each how it ended. One that fails does not keep the others from it.

    `unfit`: (network, variant) → why its runs are failed ones and do not start.

    An interrupt ends the runs that are on; the same call goes on with them where they were last kept. A warning of a
    run's process is logged, each text once.
    """
    finished = [task for task in tasks if records.is_finished(runs / task.config.run_id)]
    for task in finished:
        log.info("finished already: %s", task.name)
    ended = dict.fromkeys(finished, RunOutcome("ok"))
    for task in tasks:
        why = unfit.get((task.config.attn, task.config.variant))
        if why and task not in ended:
            ended[task] = RunOutcome("failed", why)
            log.info("[%d/%d] %s: failed: %s", len(ended), len(tasks), task.name, why)
    if any(task not in ended for task in tasks):
        refuse_unwritable(runs)
    waiting = {task: task.as_dict(runs, progress_options or ProgressOptions()) for task in tasks if task not in ended}
    started, warned = time.monotonic(), set[str]()
    for done, (task, result) in enumerate(launcher.each(waiting), start=1):
        for line in result.warnings:
            if line not in warned:
                log.warning("%s: %s", task.name, line)
                warned.add(line)
        if result.status == "ok" and not records.is_finished(runs / task.config.run_id):
            result = RunOutcome(
                "failed", "it ended well, but its record is not here or damaged; run the same command again"
            )
        ended[task] = result
        passed = time.monotonic() - started
        left = passed / done * (len(waiting) - done)
        said = _said(task, result, runs), _left(passed, left)
        log.info("[%d/%d] %s: %s; %s", len(ended), len(tasks), task.name, *said)
    return {task: ended[task] for task in tasks}


def refuse_unwritable(runs: Path) -> None:
    """Raise OSError where no run can be kept in a folder, which need not exist. Nothing is written."""
    place = (runs / ".locks").absolute()
    while not os.path.lexists(place):
        place = place.parent
    number = errno.ENOTDIR if not place.is_dir() else 0 if os.access(place, os.W_OK | os.X_OK) else errno.EACCES
    if number:
        raise OSError(number, os.strerror(number), str(place))


def _said(task: Task, ended: RunOutcome, runs: Path) -> str:
    if ended.status != "ok":
        return f"{ended.status}: {ended.reason}"
    result = records.read_result(runs / task.config.run_id) or {}
    return f"test accuracy {100 * result['accuracy']:.1f} % in {_clock(result['seconds'])}"


def _left(passed: float, left: float) -> str:
    return f"{_clock(passed)} passed" + (f", about {_clock(left)} left" if left else "")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class Launcher:
    """Where runs are done. `each` gives every task with how it ended, as they end."""

    def __init__(
        self,
        executor: Executor,
        launch: Callable[[dict[str, Any]], RunOutcome],
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._executor, self._launch, self._watch = executor, launch, watch

    def each(self, tasks: Mapping[Task, dict[str, Any]]) -> Iterator[tuple[Task, RunOutcome]]:
        of: dict[Future[RunOutcome], Task] = {}
        finished: SimpleQueue[Future[RunOutcome]] = SimpleQueue()
        for task, content in tasks.items():
            future = self._executor.submit(self._launch, content)
            of[future] = task
            future.add_done_callback(finished.put)
        for _ in tasks:
            future = self._next(finished)
            yield of[future], future.result()

    def _next(self, finished: "SimpleQueue[Future[RunOutcome]]") -> Future:
        while True:
            try:
                return finished.get(timeout=LOOK)
            except Empty:
                self._watch()


def visible_gpus(count: int, listed: str | None) -> list[str]:
    """Return the names by which processes can be given one of this process's GPUs each.

    Args:
        count: how many GPUs PyTorch sees.
        listed: this process's CUDA_VISIBLE_DEVICES, which may name other GPUs than the first ones; None if it is unset.
    """
    names = [name.strip() for name in listed.split(",")] if listed else []
    return names[:count] if len(names) >= count else [str(k) for k in range(count)]


def assign(workers: int | None, gpus: Sequence[str]) -> list[str | None]:
    """Return the GPU of each worker, in turn; by default there is one worker for each GPU, or one without any."""
    if not gpus:
        return [None] * (workers or 1)
    return [gpus[k % len(gpus)] for k in range(workers or len(gpus))]


@contextmanager
def here(device: str, workers: int | None = None, threads: int | None = None) -> Iterator[Launcher]:
    """Processes of this machine, one by default; on CUDA one for each GPU.

    Args:
        device: "cpu" or "cuda".
        workers: how many at a time; on CUDA they are spread over the GPUs, and each sees its own alone.
        threads: of each; by default the cores are shared out.

    When the block ends, the processes end too.
    """
    gpus = visible_gpus(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")) if device == "cuda" else []
    places = assign(workers, gpus)
    threads = threads or max(1, processors() // len(places))
    running = subprocess_worker.RunningProcesses()
    all_workers = [subprocess_worker.Worker(threads, gpu, running) for gpu in places]
    free: SimpleQueue[subprocess_worker.Worker] = SimpleQueue()
    for one in all_workers:
        free.put(one)

    def launch(task: dict[str, Any]) -> RunOutcome:
        one = free.get()
        try:
            return one.launch(task)
        finally:
            free.put(one)

    pool = ThreadPoolExecutor(len(places))
    try:
        yield Launcher(pool, launch)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        running.end()  # those that wait for another run, too
        pool.shutdown()
        for one in all_workers:
            one.close()


@contextmanager
def cluster(address: str, threads: int | None) -> Iterator[Launcher]:
    """The workers of a Dask scheduler, one run at a time on each thread of theirs."""
    with cluster_executor(address) as (executor, watch):
        yield Launcher(executor, partial(subprocess_worker.launch, threads=threads), watch)
