"""Runs in worker processes, so that a crash of one run does not affect the others, and a run can be terminated.

The parent process uses `launch` and `Worker`; the worker process calls `run_task`. A worker process executes several
runs, one after the other. Imports, the start of CUDA and the self-tests of kernels are then needed only once. A worker
process is replaced after a run that failed or diverged, and if it uses too much memory, see `process_state`. A run with
a user module has a process of its own.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypedDict

from bench.evaluation.record_keys import FAILED, OK
from mnistref.common.child_process import ChildDiedError, ChildProcess
from mnistref.common.errors import ProblemError, format_traceback


class ProgressFields(TypedDict, total=False):
    """The fields of `bench.training.progress.ProgressOptions`."""

    log: str | None
    checkpoint_seconds: float
    timing: bool
    on_step: Callable[..., object] | None


class DataFields(TypedDict, total=False):
    """The fields of `bench.config.DataOptions`."""

    stream: bool | None
    raw: str | None
    digits: str | None
    backgrounds: str | None


class RunTask(TypedDict):
    """The description of a run that is sent to a worker process.

    Attributes:
        config: see `bench.config.RunConfig.as_dict`.
        data: path of the data set.
        runs: path of the folder of all runs.
        files: user files, see `bench.attention.NetworkSpec`.
        progress_options: how the run reports its progress.
        data_options: how the data are read.
        init: path of the run with the initial weights, or None.
        isolated: whether the run needs a process of its own.
    """

    config: dict[str, object]
    data: str
    runs: str
    files: dict[str, str]
    progress_options: ProgressFields
    data_options: DataFields
    init: str | None
    isolated: bool


class RunOutcome(NamedTuple):
    """The outcome of a run.

    Attributes:
        status: "ok", "failed" or "diverged".
        reason: one line; empty if the status is "ok".
        warnings: warnings of the worker process, one line each.
        traceback: the traceback of the error that ended the run, as text; empty if there is none.
    """

    status: str
    reason: str = ""
    warnings: tuple[str, ...] = ()
    traceback: str = ""


class WorkerReply(NamedTuple):
    """The reply of a worker process: the outcome of the run, and whether the process can be used for another run."""

    outcome: RunOutcome
    reusable: bool = False


class RunningProcesses:
    """A set of worker processes that can be terminated from another thread."""

    def __init__(self) -> None:
        self._processes: set[ChildProcess] = set()
        self._terminated = False
        self._lock = threading.Lock()

    def add(self, process: ChildProcess) -> None:
        """Add a process. If `terminate` was called before, kill it."""
        with self._lock:
            self._processes.add(process)
            if self._terminated:
                process.kill()

    def remove(self, process: ChildProcess) -> None:
        """Remove a process."""
        with self._lock:
            self._processes.discard(process)

    def terminate(self) -> None:
        """Kill all processes, and those that are added later."""
        with self._lock:
            self._terminated = True
            for process in self._processes:
                process.kill()


def launch(
    task: RunTask, threads: int | None = None, gpu: str | None = None, running: RunningProcesses | None = None
) -> RunOutcome:
    """Do a run in a process of its own, and wait for it.

    Args:
        task: the run.
        threads: number of CPU threads; None for PyTorch's default.
        gpu: the GPU of the run, as in CUDA_VISIBLE_DEVICES; None for all GPUs.
        running: the set to which the process is added while it runs.

    Returns:
        The outcome. If the process ends without a reply, the status is "failed".
    """
    with closing(Worker(threads, gpu, running)) as worker:
        return worker.launch({**task, "isolated": False})


class Worker:
    """Does runs in turn, in one worker process that is replaced if necessary. The arguments are those of `launch`."""

    def __init__(
        self, threads: int | None = None, gpu: str | None = None, running: RunningProcesses | None = None
    ) -> None:
        self._threads, self._gpu, self._running = threads, gpu, running or RunningProcesses()
        self._process: ChildProcess | None = None
        self._process_key: tuple[object, ...] = ()

    def launch(self, task: RunTask) -> RunOutcome:
        """Do a run, and wait for it."""
        if task["isolated"]:
            return launch(task, self._threads, self._gpu, self._running)
        # cuBLAS reads only once per process whether it must be deterministic
        key = task["config"].get("device"), task["config"].get("deterministic")
        if self._process and (self._process_key != key or not self._process.alive):
            self.close()
        self._process_key = key
        try:
            process = self._process or self._start()
        except OSError as error:
            return RunOutcome(FAILED, f"the worker process could not be started: {error.strerror}")
        reply = _request_run(process, task)
        if not reply.reusable:
            self.close()
        return reply.outcome

    def close(self) -> None:
        """End the worker process."""
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


def _request_run(process: ChildProcess, task: RunTask) -> WorkerReply:
    """Send a run to a worker process, and wait for its reply."""
    try:
        return process.call(run_task, task)
    except ChildDiedError as error:
        return WorkerReply(RunOutcome(FAILED, f"{error}{error.advice('use a smaller --batch')}"))
    except Exception as error:
        return WorkerReply(_build_failure(error))


def _build_failure(error: Exception) -> RunOutcome:
    text = str(error) if isinstance(error, ProblemError) else f"{type(error).__name__}: {error}"
    return RunOutcome(FAILED, _to_one_line(text), traceback=_traceback_of(error))


def _traceback_of(error: Exception) -> str:
    """Return the traceback of an error as text; empty for a foreseen error that no other error caused."""
    is_plain = isinstance(error, ProblemError) and error.__cause__ is None
    return "" if is_plain else format_traceback(error)


def _to_one_line(text: str) -> str:
    return " ".join(text.split())


def run_task(task: RunTask) -> WorkerReply:
    """Do a run. Called in the worker process."""
    from bench.runs.collected_warnings import collect_warnings

    with collect_warnings() as lines:  # before other imports, which may give warnings
        from bench.runs.process_state import ProcessState

        before = ProcessState()
        try:
            outcome = _run_and_read_status(task)
        except Exception as error:
            outcome = _build_failure(error)
        reusable = before.restore() and outcome.status == OK
    return WorkerReply(outcome._replace(warnings=tuple(lines)), reusable)


def _run_and_read_status(task: RunTask) -> RunOutcome:
    from bench.attention import plugins
    from bench.config import DataOptions, RunConfig
    from bench.runs import experiment, records
    from bench.training.progress import ProgressOptions

    plugins.load_recorded(task["files"])
    config, runs = RunConfig.from_dict(task["config"]), Path(task["runs"])
    try:
        experiment.run(
            config,
            Path(task["data"]),
            runs,
            init=Path(task["init"]) if task["init"] else None,
            options=experiment.ExecutionOptions(
                progress=ProgressOptions(**task["progress_options"]), data=DataOptions(**task["data_options"])
            ),
        )
    except ProblemError as error:
        folder = runs / config.run_id
        result = records.read_result(folder)
        status = result["status"] if result else FAILED
        reason = _to_one_line(str(error).removeprefix(f"{folder}: {status}: "))
        return RunOutcome(status, reason, traceback=_traceback_of(error))
    return RunOutcome(OK)
