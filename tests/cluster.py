"""A Dask scheduler on loopback and workers for tests that kill them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep

from tests.helpers import TOP, free_port

SLOW = '''
import os, time
from pathlib import Path
import mnistref.generation.shard_worker

# This file is loaded more than once.
if mnistref.generation.shard_worker.make_shard.__module__ == "mnistref.generation.shard_worker":
    quick = mnistref.generation.shard_worker.make_shard

def make_shard(job):
    """Record the process id, and wait long enough for the test to kill the worker."""
    Path("{busy}", str(os.getpid())).touch()
    time.sleep(0.5)
    return quick(job)

mnistref.generation.shard_worker.make_shard = make_shard
'''


class Cluster:
    """A scheduler and its workers, each in its own process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, f"tcp://127.0.0.1:{free_port()}"
        self.busy = folder / "busy"
        self.busy.mkdir(parents=True)
        (folder / "slow.py").write_text(SLOW.format(busy=self.busy))
        self.processes: list[subprocess.Popen] = []
        self.scheduler = self._start("scheduler", "--port", self.address.split(":")[-1], "--host", "127.0.0.1")

    def wait_for_scheduler(self) -> None:
        self._wait_until(self._answers, "the scheduler does not answer")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.address.split(":")[-1]))) == 0

    def _wait_until(self, condition: Callable[[], object], otherwise: str) -> None:
        began = monotonic()
        while not condition():
            assert monotonic() - began < 60, otherwise
            sleep(0.02)

    def _start(self, program: str, *arguments: str, under: Sequence[str] = ()) -> subprocess.Popen:
        command = [*under, sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments, "--no-dashboard"]
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        with open(self.folder / f"{program}{len(self.processes)}.log", "w") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def start_worker(self, *arguments: str, under: Sequence[str] = ()) -> subprocess.Popen:
        """Start a worker. `under` is a command that runs the command of the worker."""
        place = self.folder / f"worker{len(self.processes)}"
        options = ("--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", "--local-directory", str(place))
        preload = ("--preload", str(self.folder / "slow.py"))
        return self._start("worker", self.address, *options, *preload, *arguments, under=under)

    def kill_busy(self) -> None:
        """Kill the first worker that has begun a shard, before the shard is complete."""
        self._wait_until(lambda: os.listdir(self.busy), "no worker began")
        os.kill(int(os.listdir(self.busy)[0]), signal.SIGKILL)

    def kill_all(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(20)
