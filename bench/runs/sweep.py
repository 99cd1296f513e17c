"""Sweeps: the runs of several mechanisms, data sets and seeds, in worker processes. Finished runs are skipped.

Runs with the same seed have the same order of the data and the same initial weights of the shared layers for every
mechanism, so that their results are paired.
"""

import errno
import itertools
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from bench.attention import NetworkSpec
from bench.common.number_format import describe_duration
from bench.config import DEFAULT_DATA_OPTIONS, DataOptions, RunConfig
from bench.data.sets import read_manifest
from bench.evaluation.columns import ACCURACY
from bench.evaluation.record_keys import FAILED, OK
from bench.runs import records
from bench.runs.configure import RunSettings, configure
from bench.runs.epoch_watch import EpochWatch
from bench.runs.subprocess_worker import RunOutcome, RunTask
from bench.runs.sweep_workers import Launcher
from bench.training.progress import ProgressOptions
from mnistref.common.console import log_once
from mnistref.common.errors import UsageProblemError

log = logging.getLogger("bench")

NO_REASONS: Mapping[tuple[str, str], str] = MappingProxyType({})

InitialRuns = Mapping[tuple[str, int], Path]
"""For each mechanism and seed, the folder of the run with the initial weights."""


@dataclass(frozen=True)
class Task:
    """A run of a sweep.

    Attributes:
        config: configuration of the run.
        network: the network of the configuration.
        data: folder of the data set.
        data_options: how the data are read.
        init: folder of the run with the initial weights, or None.
    """

    config: RunConfig
    network: NetworkSpec
    data: Path
    data_options: DataOptions = DEFAULT_DATA_OPTIONS
    init: Path | None = None

    @property
    def name(self) -> str:
        """Data set, mechanism and seed, for people."""
        return f"{self.config.dataset} {self.network.label} seed {self.config.seed}"

    def as_dict(self, runs: Path, progress_options: ProgressOptions) -> RunTask:
        """Return the description of the run for `bench.runs.subprocess_worker.launch`.

        Args:
            runs: folder of all runs.
            progress_options: how the run reports its progress.
        """
        return {
            "config": self.config.as_dict(),
            "data": str(self.data.resolve()),
            "runs": str(runs.resolve()),
            "progress_options": {
                "log": progress_options.log,
                "checkpoint_seconds": progress_options.checkpoint_seconds,
                "timing": progress_options.timing,
                "on_step": progress_options.on_step,
            },
            "files": dict(self.network.files),
            "data_options": {
                "stream": self.data_options.stream,
                "raw": self.data_options.raw,
                "digits": self.data_options.digits,
                "backgrounds": self.data_options.backgrounds,
            },
            "init": str(self.init.resolve()) if self.init else None,
            "isolated": self.network.has_user_module,
        }


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep: every mechanism on every data set with every seed.

    Attributes:
        networks: the networks.
        data: folders of the data sets.
        seeds: number of seeds; the seeds are 0 … seeds − 1.
        settings: the settings of all runs. Its `init` is ignored.
        data_options: how the data are read.
        initial_runs: the runs with the initial weights, or None for random weights. Mechanisms and seeds that are
            missing in it are skipped.
    """

    networks: Sequence[NetworkSpec]
    data: Sequence[Path]
    seeds: int
    settings: RunSettings
    data_options: DataOptions = DEFAULT_DATA_OPTIONS
    initial_runs: InitialRuns | None = None

    def build_tasks(self) -> list[Task]:
        """Return the runs, without duplicates.

        They are ordered by seed first, so that an interrupted sweep has compared all mechanisms with some seeds.
        """
        folders = [folder.resolve() for folder in self.data]
        tasks = [
            self._build_task(seed, folder, network)
            for seed, folder, network in itertools.product(range(self.seeds), folders, self.networks)
            if self.initial_runs is None or (network.name, seed) in self.initial_runs
        ]
        return list(dict.fromkeys(tasks))

    def _build_task(self, seed: int, folder: Path, network: NetworkSpec) -> Task:
        init = None if self.initial_runs is None else self.initial_runs[network.name, seed]
        config = configure(folder, network, seed, replace(self.settings, init=init))
        return Task(config, network, folder, self.data_options, init)


def find_initial_runs(runs: Path, networks: Sequence[NetworkSpec], seeds: int) -> tuple[InitialRuns, list[str]]:
    """Find the finished runs in a folder whose weights can be the initial weights of a sweep.

    Args:
        runs: the folder.
        networks: the networks of the sweep.
        seeds: number of seeds of the sweep.

    Returns:
        The runs by mechanism and seed, and one line for each mechanism and seed without a run.

    Raises:
        UsageProblemError: there is no run at all, or there are several runs of a mechanism and seed.
    """
    found: dict[tuple[str, int], list[Path]] = {}
    architectures = {network.architecture for network in networks}
    for result in records.read_results(runs):
        config = result.get("config")
        if result["status"] == OK and (config is None or config.network in architectures):
            found.setdefault((result["attn"], result["seed"]), []).append(runs / result["run"])
    wanted = list(dict.fromkeys(itertools.product((network.name for network in networks), range(seeds))))
    if not any(key in found for key in wanted):
        raise UsageProblemError(f"--init {runs}: no finished run of these mechanisms and seeds in this folder of runs")
    for attn, seed in wanted:
        if len(candidates := found.get((attn, seed), [])) > 1:
            names = ", ".join(run.name for run in candidates[:3])
            raise UsageProblemError(f"--init {runs}: more than one finished run of {attn} with seed {seed} ({names})")
    initial_runs = {key: found[key][0] for key in wanted if key in found}
    missing = [key for key in wanted if key not in found]
    return initial_runs, [
        f"{attn} seed {seed}: no finished run with initial weights in {runs}" for attn, seed in missing
    ]


def select_shard(tasks: Sequence[Task], shard: tuple[int, int]) -> list[Task]:
    """Return the tasks of shard (i, n), 1 ≤ i ≤ n: every n-th task, so that all shards take about the same time."""
    index, count = shard
    return list(tasks[index - 1 :: count])


def sweep(
    tasks: Sequence[Task],
    runs: Path,
    launcher: Launcher,
    progress_options: ProgressOptions | None = None,
    unfit: Mapping[tuple[str, str], str] = NO_REASONS,
) -> dict[Task, RunOutcome]:
    """Do the runs that are not finished, and return the outcomes of all. A failed run does not stop the others.

    After an interrupt, the same call resumes the interrupted runs at their last checkpoints. Each distinct warning of
    the worker processes is logged once.

    Args:
        tasks: the runs.
        runs: folder of all runs.
        launcher: where the runs are done.
        progress_options: how the runs report their progress.
        unfit: for pairs of a network and a variant, the reason why their runs fail without being started.
    """
    outcomes: dict[Task, RunOutcome] = {}
    for variant in {task.data: read_manifest(task.data).variant for task in tasks}.values():
        if variant.note:
            log_once(f"{variant.name} is {variant.note}")
    for task in tasks:
        if records.is_finished(runs / task.config.run_id):
            log.info("already finished: %s", task.name)
            outcomes[task] = RunOutcome(OK)
    for task in tasks:
        reason = unfit.get((task.config.attn, task.config.variant))
        if reason and task not in outcomes:
            outcomes[task] = RunOutcome(FAILED, reason)
            log.info("[%d/%d] %s: failed: %s", len(outcomes), len(tasks), task.name, reason)
    options = progress_options or ProgressOptions()
    waiting = {task: task.as_dict(runs, options) for task in tasks if task not in outcomes}
    if waiting:
        require_writable(runs)
    launcher.on_wait = EpochWatch({runs / task.config.run_id: task.name for task in waiting}).report
    started, logged = time.monotonic(), set[str]()
    for done, (task, outcome) in enumerate(launcher.run_all(waiting), start=1):
        for line in outcome.warnings:
            if line not in logged:
                log.warning("%s: %s", task.name, line)
                logged.add(line)
        outcomes[task] = _as_failure_without_record(outcome, runs / task.config.run_id)
        if outcome.traceback:
            log.debug("%s:\n%s", task.name, outcome.traceback)
        elapsed = time.monotonic() - started
        times = _describe_times(elapsed, remaining=elapsed / done * (len(waiting) - done))
        description = _describe_outcome(task, outcomes[task], runs)
        log.info("[%d/%d] %s: %s; %s", len(outcomes), len(tasks), task.name, description, times)
    return {task: outcomes[task] for task in tasks}


def require_writable(runs: Path) -> None:
    """Raise an error unless the folder of all runs can be created or written to. Nothing is written.

    Raises:
        OSError: the folder is not writable, or a file is in its place.
    """
    place = (runs / ".locks").absolute()
    while not os.path.lexists(place):
        place = place.parent
    number = errno.ENOTDIR if not place.is_dir() else 0 if os.access(place, os.W_OK | os.X_OK) else errno.EACCES
    if number:
        raise OSError(number, os.strerror(number), str(place))


def _as_failure_without_record(outcome: RunOutcome, run: Path) -> RunOutcome:
    """Return a failure if the run succeeded but its record is missing; otherwise the outcome."""
    if outcome.status == OK and not records.is_finished(run):
        return RunOutcome(FAILED, "the run succeeded, but its record is missing or damaged; run the same command again")
    return outcome


def _describe_outcome(task: Task, outcome: RunOutcome, runs: Path) -> str:
    if outcome.status != OK:
        return f"{outcome.status}: {outcome.reason}"
    result = records.read_result(runs / task.config.run_id)
    assert result  # `_as_failure_without_record` has read it
    return f"test accuracy {100 * result[ACCURACY]:.1f} % in {describe_duration(result['seconds'])}"


def _describe_times(elapsed: float, remaining: float) -> str:
    text = f"{describe_duration(elapsed)} elapsed"
    return f"{text}, about {describe_duration(remaining)} remaining" if remaining else text
