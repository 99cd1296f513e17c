"""The commands that the grid of runs starts, its log and its clock; see `tests.perf.grid`."""

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
"""Variable for the timing rounds of a run. The grid sets it to 1: times are measured by a session."""
LOOK = 0.1
"""Seconds between two polls of the running commands."""


class OverError(Exception):
    """The grid must end, with the exit code `code`: the time is over, a signal arrived, or a command failed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Commands:
    """Starts commands, and calls `look` while it waits for them."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.folder, self.out = asked.folder.absolute(), asked.out.absolute() if asked.out else None
        self.begun = time.monotonic()
        self.margin = min(asked.margin, asked.seconds / 4)
        self.about: dict[str, Any] = {"stages": [], "runs": [], "probes": []}
        self.folder.mkdir(parents=True, exist_ok=True)
        results = self.out or self.folder
        results.mkdir(parents=True, exist_ok=True)
        remove_partial(results)
        self.kept = kept_folder(asked.kept)
        self.environment = os.environ | caches_in(self.kept) | {ROUNDS: os.environ.get(ROUNDS, "1")}
        if asked.caches:
            self.about["caches"] = unpack(asked.caches, self.kept)
        self.log = open(results / "grid.log", "a", encoding="utf-8")  # noqa: SIM115

    def look(self) -> None:
        """Update what has finished. Raise OverError if the time is over."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Print a line to stderr, with the seconds since the start."""
        print(f"[{self.passed:6.0f} s] {line}", file=sys.stderr, flush=True)

    def last_line(self) -> str:
        """Return the last line of the log that is not empty: the reason why the last command failed."""
        self.log.flush()
        lines = Path(self.log.name).read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "see the log")

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun

    def tell(self, **what: Any) -> None:
        """Record these values and the seconds since the start in grid.json."""
        self.about |= what
        self.about["passed"] = round(self.passed, 1)
        write_whole((self.out or self.folder) / "grid.json", json.dumps(self.about, indent=1).encode())

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Start a command, and write it to the log."""
        self.log.write(f"== {self.passed:.0f} s: {' '.join(arguments)}\n")
        self.log.flush()
        return subprocess.Popen(
            arguments, cwd=TOP, env=self.environment, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def waited(self, process: subprocess.Popen[str], until: float = math.inf) -> int:
        """Wait for a command, call `look` meanwhile, and kill it after `until` seconds. Return its exit code."""
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
        """Interrupt a command, and let it save its state for most of the margin before it is killed."""
        process.send_signal(signal.SIGINT)
        try:
            process.wait(max(1.0, self.asked.seconds - self.passed - self.margin / 5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
