"""The commands that the grid of runs starts, what is told of them, and the clock; see `tests.perf.grid`."""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mnistref.common.atomic_files import write_whole
from tests.perf.packs import unpack
from tests.perf.places import TOP, caches_in, kept_folder, remove_partial

ROUNDS = "BENCH_TIMING_ROUNDS"
"""One round of timing a run is enough: the session measures times."""
LOOK = 0.1
"""Seconds between two looks at what is on."""


class OverError(Exception):
    """The time is over, or somebody wants the end: `code` is what to end with."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Commands:
    """Starts commands, and waits for them while `look` sees to everything else."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.folder, self.out = asked.folder.absolute(), asked.out.absolute() if asked.out else None
        self.begun = time.monotonic()
        self.margin = min(asked.margin, asked.seconds / 4)
        self.about: dict[str, Any] = {"stages": [], "runs": [], "probes": []}
        self.folder.mkdir(parents=True, exist_ok=True)
        told = self.out or self.folder
        told.mkdir(parents=True, exist_ok=True)
        remove_partial(told)
        self.kept = kept_folder(asked.kept)
        self.environment = os.environ | caches_in(self.kept) | {ROUNDS: os.environ.get(ROUNDS, "1")}
        if asked.caches:
            self.about["caches"] = unpack(asked.caches, self.kept)
        self.log = open(told / "grid.log", "a", encoding="utf-8")  # noqa: SIM115

    def look(self) -> None:
        """See to what is finished. Raise OverError when the time is over."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Print a line, with the seconds so far."""
        print(f"[{self.passed:6.0f} s] {line}", file=sys.stderr, flush=True)

    def last_line(self) -> str:
        """Return the last line of the log that is not empty: why the last command failed."""
        self.log.flush()
        lines = Path(self.log.name).read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "see the log")

    @property
    def passed(self) -> float:
        return time.monotonic() - self.begun

    def tell(self, **what: Any) -> None:
        """Note what is done, and since when the grid is on."""
        self.about |= what
        self.about["passed"] = round(self.passed, 1)
        write_whole((self.out or self.folder) / "grid.json", json.dumps(self.about, indent=1).encode())

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        self.log.write(f"== {self.passed:.0f} s: {' '.join(arguments)}\n")
        self.log.flush()
        return subprocess.Popen(
            arguments, cwd=TOP, env=self.environment, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def waited(self, process: subprocess.Popen[str], until: float = math.inf) -> int:
        """Wait for a command while everything else goes on, and end it when it is late. → its exit code."""
        while process.poll() is None:
            try:
                self.look()
            except OverError:
                self.interrupt(process)
                raise
            if self.passed > until:
                process.kill()
            time.sleep(LOOK)
        self.look()
        return process.returncode

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        """Let a command keep what it has: it may take most of the margin for that."""
        process.send_signal(signal.SIGINT)
        try:
            process.wait(max(1.0, self.asked.seconds - self.passed - self.margin / 5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
