"""A run in a process of its own: what breaks there breaks nothing else, and it ends when whoever wants it does.

`launch` is called where the result is wanted; `main` is the process. What it is asked is one line of JSON on its
standard input, which then stays open; what came of it is the last line of its standard output.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).parent.parent


class Ended(NamedTuple):
    """`status`: ok, failed or diverged. `reason`: one line, if it is not ok."""

    status: str
    reason: str = ""


class Running:
    """The processes that are on; `end` ends them, and those that begin after it."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[str]] = set()
        self._over = False
        self._changing = threading.Lock()

    def add(self, process: subprocess.Popen[str]) -> None:
        with self._changing:
            self._processes.add(process)
            if self._over:
                process.kill()

    def remove(self, process: subprocess.Popen[str]) -> None:
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
    """Do a run, and wait for it.

    Args:
        task: `config`, as `RunConfig.as_dict`; `data` and `runs`: paths; `files`: as `bench.plugins.files_of`;
            `watching` and `supply`: the fields of `bench.watch.Watching` and `bench.config.Supply`; `init`: the run
            whose weights it begins with, or None.
        threads: of a CPU; None for PyTorch's choice.
        gpu: the only one that the run sees.
        running: what can end it early.
    """
    running = running or Running()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(TOP), os.environ.get("PYTHONPATH"))))}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(gpu)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.worker"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    running.add(process)
    with process:
        said: list[str] = []
        listening = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        listening.start()
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = process.stdout.read().strip().splitlines()
        listening.join()
    running.remove(process)
    if process.returncode == 0 and answer:
        return Ended(**json.loads(answer[-1]))
    killed = f"killed by {signal.Signals(-process.returncode).name}" if process.returncode < 0 else ""
    killed += ", as where memory runs out; see --batch" if process.returncode == -signal.SIGKILL else ""
    last = next((line.strip() for line in reversed(said) if line.strip()), f"exit code {process.returncode}")
    return Ended("failed", killed or last)


def main() -> None:
    """In the process: do what is asked on standard input, say what came of it, and end when whoever asked does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which reaches every process of a terminal; the parent ends us
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    sys.stdout.write(json.dumps(_run(task)._asdict()) + "\n")
    sys.stdout.flush()


def _end_with_standard_input() -> None:
    while os.read(0, 1024):  # nothing more is said, until the other end is closed
        pass
    os._exit(1)


def _run(task: dict[str, Any]) -> Ended:
    from bench import experiment, plugins, records
    from bench.config import RunConfig, Supply
    from bench.watch import Watching
    from mnistref.errors import ProblemError

    plugins.find_again(task["files"])
    config, runs = RunConfig.from_dict(task["config"]), Path(task["runs"])
    watching, supply = Watching(**task["watching"]), Supply(**task["supply"])
    init = Path(task["init"]) if task["init"] else None
    try:
        experiment.run(config, Path(task["data"]), runs, init=init, watching=watching, supply=supply)
    except ProblemError as error:
        folder = runs / config.run_id
        status = (records.read_result(folder) or {}).get("status", "failed")
        return Ended(status, " ".join(str(error).removeprefix(f"{folder}: {status}: ").split()))
    return Ended("ok")


if __name__ == "__main__":
    main()
