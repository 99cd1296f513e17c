"""A run in a process of its own: what breaks there breaks nothing else, and it ends when whoever wants it does.

`launch` is called where the result is wanted; `do` runs in the process.
"""

import threading
from pathlib import Path
from typing import Any, NamedTuple

from mnistref.common.child_process import ChildDiedError, ChildProcess
from mnistref.common.errors import ProblemError


class Ended(NamedTuple):
    """`status`: ok, failed or diverged. `reason`: one line, if it is not ok."""

    status: str
    reason: str = ""


class Running:
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
    task: dict[str, Any], threads: int | None = None, gpu: int | None = None, running: Running | None = None
) -> Ended:
    """Do a run, and wait for it. Whatever its process does, the outcome is judged by its answer alone.

    Args:
        task: `config`, as `RunConfig.as_dict`; `data` and `runs`: paths; `files`: as `plugins.files_of`;
            `watching` and `supply`: the fields of `progress.Watching` and `bench.config.Supply`; `init`: the run
            whose weights it begins with, or None.
        threads: of a CPU; None for PyTorch's choice.
        gpu: the only one that the run sees.
        running: what can end it early.
    """
    running = running or Running()
    environment = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(gpu)
    try:
        process = ChildProcess("bench.runs.subprocess_worker", environment)
    except OSError as error:
        return Ended("failed", f"its process could not be started: {error.strerror}")
    running.add(process)
    try:
        return process.call(do, task)
    except ChildDiedError as error:
        return Ended("failed", f"{error}{error.advice('see --batch')}")
    except ProblemError as error:
        return Ended("failed", _line(str(error)))
    except Exception as error:
        return Ended("failed", _line(f"{type(error).__name__}: {error}"))
    finally:
        running.remove(process)
        process.close()


def _line(text: str) -> str:
    return " ".join(text.split())


def do(task: dict[str, Any]) -> Ended:
    """In the process: do the run that `launch` was given."""
    from bench.attention import plugins
    from bench.config import RunConfig, Supply
    from bench.runs import experiment, records
    from bench.training.progress import Watching

    plugins.find_again(task["files"])
    config, runs = RunConfig.from_dict(task["config"]), Path(task["runs"])
    watching, supply = Watching(**task["watching"]), Supply(**task["supply"])
    init = Path(task["init"]) if task["init"] else None
    try:
        experiment.run(config, Path(task["data"]), runs, init=init, watching=watching, supply=supply)
    except ProblemError as error:
        folder = runs / config.run_id
        status = (records.read_result(folder) or {}).get("status", "failed")
        return Ended(status, _line(str(error).removeprefix(f"{folder}: {status}: ")))
    return Ended("ok")
