"""Runs in processes apart: what breaks there breaks nothing else, and it ends when whoever wants it does.

`launch` and `Worker` are used where the results are wanted; `do` runs in the process. A worker's process does one run
after the other, so that imports, the start of CUDA and the kernels' self-tests are paid for once. It is replaced after
a run that did not end well, and where it holds too much memory (`process_state`). A run with modules from outside has
a process to itself.
"""

import threading
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from mnistref.common.child_process import ChildDiedError, ChildProcess
from mnistref.common.errors import ProblemError


class RunOutcome(NamedTuple):
    """`status`: ok, failed or diverged. `reason`: one line, if it is not ok. `warnings`: lines of the run's process."""

    status: str
    reason: str = ""
    warnings: tuple[str, ...] = ()


class WorkerReply(NamedTuple):
    """How a run ended, and whether its process is fit for another one."""

    ended: RunOutcome
    fit: bool = False


class RunningProcesses:
    """The processes that are on; `end` ends them, and those that begin after it."""

    def __init__(self) -> None:
        self._processes: set[ChildProcess] = set()
        self._over = False
        self._changing = threading.Lock()

    def add(self, process: ChildProcess) -> None:
        with self._changing:
            self._processes.add(process)
            if self._over:
                process.kill()

    def remove(self, process: ChildProcess) -> None:
        with self._changing:
            self._processes.discard(process)

    def end(self) -> None:
        with self._changing:
            self._over = True
            for process in self._processes:
                process.kill()


def launch(
    task: dict[str, Any], threads: int | None = None, gpu: str | None = None, running: RunningProcesses | None = None
) -> RunOutcome:
    """Do a run in a process of its own, and wait for it. Whatever the process does, its answer alone is the outcome.

    Args:
        task: `config`, as `RunConfig.as_dict`; `data` and `runs`: paths; `files`: as `plugins.files_of`;
            `progress_options`: the fields of `progress.ProgressOptions`; `data_options`: those of
            `bench.config.DataOptions`; `init`: the run whose weights it starts with, or None; `alone`: whether its
            process must not do any other run.
        threads: of a CPU; None for PyTorch's choice.
        gpu: the only one that the run sees, as CUDA_VISIBLE_DEVICES names it.
        running: what can end it early.
    """
    with closing(Worker(threads, gpu, running)) as worker:
        return worker.launch({**task, "alone": False})


class Worker:
    """Does runs, one at a time, in one process after the other; see `launch`, which has the same arguments.

    `close` ends its process.
    """

    def __init__(
        self, threads: int | None = None, gpu: str | None = None, running: RunningProcesses | None = None
    ) -> None:
        self._threads, self._gpu, self._running = threads, gpu, running or RunningProcesses()
        self._process: ChildProcess | None = None
        self._kind: tuple[Any, ...] = ()

    def launch(self, task: dict[str, Any]) -> RunOutcome:
        if task["alone"]:
            return launch(task, self._threads, self._gpu, self._running)
        # cuBLAS reads once in a process whether it must be deterministic
        kind = task["config"].get("device"), task["config"].get("deterministic")
        if self._process and (self._kind != kind or not self._process.alive):
            self.close()
        self._kind = kind
        try:
            process = self._process or self._start()
        except OSError as error:
            return RunOutcome("failed", f"its process could not be started: {error.strerror}")
        answer = _ask(process, task)
        if not answer.fit:
            self.close()
        return answer.ended

    def close(self) -> None:
        process, self._process = self._process, None
        if process:
            self._running.remove(process)
            process.close()

    def _start(self) -> ChildProcess:
        environment = {"OMP_NUM_THREADS": str(self._threads)} if self._threads else {}
        if self._gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpu
        self._process = ChildProcess("bench.runs.subprocess_worker", environment)
        self._running.add(self._process)
        return self._process


def _ask(process: ChildProcess, task: dict[str, Any]) -> WorkerReply:
    try:
        return process.call(do, task)
    except ChildDiedError as error:
        return WorkerReply(RunOutcome("failed", f"{error}{error.advice('see --batch')}"))
    except Exception as error:
        return WorkerReply(_failed(error))


def _failed(error: Exception) -> RunOutcome:
    said = str(error) if isinstance(error, ProblemError) else f"{type(error).__name__}: {error}"
    return RunOutcome("failed", _line(said))


def _line(text: str) -> str:
    return " ".join(text.split())


def do(task: dict[str, Any]) -> WorkerReply:
    """In the process: do the run that `launch` was given."""
    from bench.runs import collected_warnings

    with collected_warnings.collected() as lines:
        from bench.runs.process_state import ProcessState

        before = ProcessState()
        try:
            ended = _run(task)
        except Exception as error:
            ended = _failed(error)
        fit = before.restore() and ended.status == "ok"
    return WorkerReply(ended._replace(warnings=tuple(lines)), fit)


def _run(task: dict[str, Any]) -> RunOutcome:
    from bench.attention import plugins
    from bench.config import DataOptions, RunConfig
    from bench.runs import experiment, records
    from bench.training.progress import ProgressOptions

    plugins.find_again(task["files"])
    config, runs = RunConfig.from_dict(task["config"]), Path(task["runs"])
    progress_options, data_options = ProgressOptions(**task["watching"]), DataOptions(**task["supply"])
    init = Path(task["init"]) if task["init"] else None
    try:
        experiment.run(
            config, Path(task["data"]), runs, init=init, progress_options=progress_options, data_options=data_options
        )
    except ProblemError as error:
        folder = runs / config.run_id
        status = (records.read_result(folder) or {}).get("status", "failed")
        return RunOutcome(status, _line(str(error).removeprefix(f"{folder}: {status}: ")))
    return RunOutcome("ok")
