"""What the grids of runs share: sweeps that resume, packed records, the end of a slice; see `tests.perf.grid`."""

import argparse
import json
import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.perf.grid_commands import Commands, OverError
from tests.perf.packs import Packs
from tests.perf.places import LARGEST, without_commit

LEFT = 75
RUNS_FAILED = 6
"""Exit code of `bench sweep` if some runs failed. The leaderboard shows them."""
RECORDS = "config.json", "environment.json", "history.jsonl", "result.json", "answers.safetensors"


class Sweeps(Commands):
    """Starts sweeps in the folder `runs`, and packs the records of finished runs."""

    def __init__(self, asked: argparse.Namespace) -> None:
        super().__init__(asked)
        self.finished: list[Path] = []
        self.stopped = 0  # number of the signal that stopped the grid
        self.packs: list[Packs] = []
        if self.out:
            self.packs = [Packs(self.out, "records", RECORDS, 2, LARGEST)]
            self.packs += [Packs(self.out, "weights", ["weights.safetensors"], 1, LARGEST)]

    def look(self) -> None:
        """Update the runs that have finished.

        Raises:
            OverError: If the time is over or a signal arrived.
        """
        self.gather()
        if self.stopped:
            raise OverError(128 + self.stopped)
        if self.passed >= self.asked.seconds - self.margin:
            raise OverError(LEFT)

    def gather(self) -> None:
        """Pack newly finished runs, and link all runs in one folder, for leaderboards over all variants."""
        folder, every = self.folder / "runs", self.folder / "all"
        every.mkdir(exist_ok=True)
        found = {path.parent for stage in ("*", "*/*") for path in folder.glob(f"{stage}/*/result.json")}
        for run in sorted(found.difference(self.finished)):
            if not (every / run.name).is_symlink():
                (every / run.name).symlink_to(run)
            self.finished.append(run)
            seconds = json.loads((run / "result.json").read_text(encoding="utf-8")).get("seconds")
            self.about["runs"].append({"run": run.name, "seconds": seconds, "at": round(self.passed, 1)})
        for packs in self.packs:
            packs.add(self.finished)
        if len(self.finished) != self.about.get("finished"):
            left_out = [name for packs in self.packs for name in packs.left_out]
            self.tell(finished=len(self.finished), left_out=left_out)

    def end(self) -> None:
        """Pack the finished runs."""
        self.gather()

    def over_file(self, name: str, key: object) -> Path:
        """Return the file that exists once a sweep with this key is over."""
        return self.folder / "over" / f"{name.replace('/', '-')}-{sha256(repr(key).encode()).hexdigest()[:10]}"

    def trained(self, about: dict[str, Any], command: list[str]) -> int:
        """Run a sweep, record its outcome, and return its exit code."""
        begun = self.passed
        code = self.waited(self.start(command))
        took = round(self.passed - begun, 1)
        self.about["stages"].append({**about, "code": code, "at": round(self.passed, 1), "took": took})
        self.tell()
        capture = f", {about['capture']}" if "capture" in about else ""
        self.say(f"{about['stage']}, seed {about['seed']}{capture}: ended with {code} after {took:.0f} s")
        return code


def run(grid: Sweeps, train: Callable[[], None]) -> int:
    """Call `train` until it returns or the time is over, and return the exit code.

    Args:
        grid: the grid.
        train: trains all runs; it raises `OverError` to end.
    """

    def stop(number: int, _: Any) -> None:
        grid.stopped = number

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if warning := without_commit():
        grid.tell(warning=warning)
        grid.say(warning)
    try:
        grid.look()
        train()
        code = 0
    except OverError as over:
        code = over.code
    grid.end()
    grid.tell(code=code)
    ends = {0: "nothing is left", LEFT: "the time is over; the same command continues"}
    finished = f"{len(grid.finished)} runs finished"
    grid.say(f"{finished}; {ends.get(code, f'ended with {code}: {grid.last_line()}')}; log: {grid.log.name}")
    return code
