"""Train the papers' grid of mechanisms and variants on a GPU, in slices. A slice may be killed at any time.

    python -m tests.perf.grid FOLDER PHOTOS [SECONDS] [options]

Data and runs go to FOLDER, which may be in memory. PHOTOS is the folder of photographs for the backgrounds, or builtin.

Every network is trained from random weights with the recipe `fast`. On a GPU, the number of epochs is chosen so that
the main mechanisms fit into the time. On the CPU it is that of the recipe, and each run has one thread. Finished runs
in FOLDER/runs are not repeated. --forecast prints the runs that are left and their hours, and trains nothing.

With --out, the records of finished runs are packed into OUT after every run: records-1.tar.xz, records-2.tar.xz and, if
they fit, weights-1.tar.xz, with at most 16 MB each. OUT also gets grid.json (choices and progress) and grid.log.
With the three files of `tests.perf.gpu_session`, these are eight files. `bench leaderboard --runs` reads a folder of
unpacked records. The step times in these records are of one round, measured while other runs use the same GPU: compare
the times of networks by a session instead.

The command ends after SECONDS (540). Exit code 75: runs are left, and the same command resumes. Exit code 0: all runs
are done. Any other exit code is that of the command that failed. Failed runs are tried again with the next seed, or
after FOLDER/over is deleted. `tests.perf.grid_plan` has the order of the runs.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from bench.recipes import RECIPES
from mnistref.common.atomic_files import write_whole
from mnistref.variants import VARIANTS
from tests.perf import grid_plan
from tests.perf.grid_commands import LOOK, OverError
from tests.perf.grid_options import parsed
from tests.perf.grid_plan import RUNS, Stage
from tests.perf.grid_sweeps import RUNS_FAILED, Sweeps, run
from tests.perf.places import SESSION, driver_has_gpu, make_folder, refuse

ALL = "all"
"""The value of --questions for as many questions as each image has."""
CHOSEN = "chosen.json"
GRAPH = "cannot be recorded as a CUDA graph"
"""Part of the error of a run whose steps cannot be recorded, see `bench.training.step.CapturedFunction`."""
PROBE, PROBE_SHARE = 60.0, 0.25
"""Limit of a probe: these seconds or this share of the time, whichever is longer."""


class Grid(Sweeps):
    """The data sets, runs and packs of the grid."""

    def __init__(self, asked: argparse.Namespace) -> None:
        super().__init__(asked)
        self.sets: dict[str, str] = {}
        self.lacking: dict[str, int] = {}
        self.making: tuple[str, subprocess.Popen[str]] | None = None
        self.wanted: list[str] = []
        self.chosen: dict[str, Any] = {"eager": []}
        self.runs, self.on_gpu = self.folder / RUNS, asked.device == "cuda"

    def look(self) -> None:
        """Update data sets and runs that have finished; see `Sweeps.look`."""
        self.make()
        super().look()

    def make(self) -> None:
        """Start to generate the next data set when the previous one is finished."""
        if self.making and self.making[1].poll() is not None:
            variant, process = self.making
            assert process.stdout is not None
            self.making = None
            self.sets[variant] = process.stdout.read().strip()
            if process.returncode:
                self.lacking[variant] = process.returncode
                self.tell(failed=f"mnistref generate --variant {variant} ended with {process.returncode}")
        if not self.making and self.wanted:
            variant = self.wanted.pop(0)
            sizes = [
                str(t) for pair in zip(("--train", "--val", "--test"), self.asked.sizes, strict=True) for t in pair
            ]
            options = ["--variant", variant, "--root", str(self.folder), *sizes]
            options += ["--digits", self.asked.digits] if self.asked.digits else []
            options += ["--backgrounds", self.asked.photos] if variant.startswith("mbg") else []
            self.making = variant, self.start([*self.asked.program, "mnistref", "generate", *options])

    def set_of(self, variant: str) -> str:
        """Wait for a data set, and return its folder."""
        while variant not in self.sets:
            self.look()
            time.sleep(LOOK)
        if variant in self.lacking:
            raise OverError(self.lacking[variant])
        return self.sets[variant]

    def end(self) -> None:
        """Interrupt the generation of a data set, and pack the finished runs."""
        if self.making:
            self.interrupt(self.making[1])
        super().end()

    def choose(self) -> None:
        """Choose the number of epochs, and the mechanisms that train without CUDA graphs.

        Earlier choices in FOLDER are kept. --epochs comes before the number that fits into the time. On the CPU, the
        number is that of the recipe.
        """
        kept = self.folder / CHOSEN
        if not self.on_gpu:
            self.chosen["epochs"] = RECIPES["fast"].epochs
        elif kept.is_file():
            self.chosen = json.loads(kept.read_text())
        elif not self.asked.epochs:
            names, batch, questions = self.asked.main.split(","), self.asked.batch, self.asked.questions
            measured = grid_plan.times_of(self.asked.session or self.kept / SESSION, names, batch, questions)
            eager: list[str] = []
            if not measured:
                measured, eager = self.probed(names)
            times = grid_plan.completed(measured, names)
            train, val, _ = self.asked.sizes
            given = self.asked.seconds - self.passed - self.margin, times, train, val, batch, self.asked.workers
            epochs = grid_plan.epochs_in(*given, self.asked.most_epochs)
            self.chosen = {"epochs": epochs, "times": times, "eager": eager}
            write_whole(kept, json.dumps(self.chosen).encode())
            self.tell(estimated=[name for name in names if name not in measured])
        if self.asked.epochs:
            self.chosen["epochs"] = self.asked.epochs
        self.tell(**self.chosen)

    def probed(self, names: list[str]) -> tuple[grid_plan.Times, list[str]]:
        """Measure a step of these mechanisms, while the first data set is generated.

        A mechanism that fails or crashes does not affect the others. It is measured again without a CUDA graph. If that
        fails too, it has no time.

        Returns:
            The times, and the mechanisms that cannot be recorded as a CUDA graph.
        """
        until = self.passed + max(PROBE, PROBE_SHARE * self.asked.seconds)
        if self.asked.questions == ALL:
            return self.each_probed(names, "eager", until), []
        times = self.each_probed(names, "graph", until)
        refused = [name for name in names if name not in times]
        return times | self.each_probed(refused, "eager", until), refused

    def each_probed(self, names: list[str], capture: str, until: float) -> grid_plan.Times:
        """Return the times of these mechanisms. If one crashes the process, a new process measures those after it."""
        times: grid_plan.Times = {}
        while names and self.passed < until:
            measured, failed = self.probe(names, capture, until)
            times |= measured
            names = [name for name in names if name not in measured and name not in failed][1:]
        return times

    def probe(self, names: list[str], capture: str, until: float) -> tuple[grid_plan.Times, list[str]]:
        """Return the times that one process measured before it ended, and the mechanisms that failed."""
        options = ["--device", self.asked.device, "--batch", str(self.asked.batch), "--capture", capture]
        asked = self.asked.questions if self.asked.questions != ALL else sum(VARIANTS[self.asked.probe].digits) // 2
        options += ["--questions", str(asked), "--variant", self.asked.probe]
        process = self.start([*self.asked.prober, ",".join(names), *options])
        code = self.waited(process, until)
        assert process.stdout is not None
        rows = grid_plan.rows_of(process.stdout.read())
        failed = {row["network"]: row["failed"] for row in rows if "failed" in row}
        if code or failed:
            self.about["probes"].append({"networks": names, "capture": capture, "code": code, "failed": failed})
        keys = "train_step_ms", "infer_ms_per_image"
        return {row["network"]: {key: row[key] for key in keys} for row in rows if "failed" not in row}, list(failed)

    def train(self, seed: int, stage: Stage) -> None:
        """Train the runs of a stage up to this seed: first those with CUDA graphs, then the others.

        Steps with all questions have different numbers of questions, so they cannot be recorded.
        """
        recorded = [attn for attn in stage.attns if attn not in self.chosen["eager"]]
        if not self.on_gpu:
            self.sweep(seed, stage, stage.attns)
            return
        if self.asked.questions == ALL:
            self.sweep(seed, stage, stage.attns, "eager")
            return
        if recorded:
            self.sweep(seed, stage, recorded, "graph")
        if eager := [attn for attn in stage.attns if attn in self.chosen["eager"]]:
            self.sweep(seed, stage, eager, "eager")

    def sweep(self, seed: int, stage: Stage, attns: Sequence[str], capture: str = "") -> None:
        """Train these mechanisms of a stage, the slowest first, unless an earlier slice did."""
        attns = grid_plan.longest_first(attns, self.chosen.get("times", {}))
        training = ["--device", self.asked.device, "--recipe", "fast", "--batch", str(self.asked.batch)]
        training += ["--questions", str(self.asked.questions), "--epochs", str(self.chosen["epochs"])]
        training += ["--precision", "bf16", "--capture", capture] if capture else ["--threads", "1"] * (not self.on_gpu)
        training += shlex.split(self.asked.training)
        over = self.over_file(f"{stage.name}-s{seed}", (training, attns, stage, self.asked.photos, self.asked.sizes))
        if over.is_file():
            return
        data = [option for variant in stage.variants for option in ("--data", self.set_of(variant))]
        what = [*data, "--attn", ",".join(attns), "--seeds", str(seed + 1)]
        where = ["--runs", str(self.runs), "--workers", str(self.asked.workers)]
        about = {"stage": stage.name, "seed": seed, **({"capture": capture} if capture else {})}
        code = self.trained(about, [*self.asked.program, "bench", "sweep", *what, *where, *training])
        if code not in (0, RUNS_FAILED):
            raise OverError(code)
        write_whole(over, b"")
        if code == RUNS_FAILED and capture == "graph" and (refused := self.unrecorded(stage, attns)):
            self.chosen["eager"] = [*self.chosen["eager"], *refused]
            write_whole(self.folder / CHOSEN, json.dumps(self.chosen).encode())
            self.tell(**self.chosen)
            self.sweep(seed, stage, refused, "eager")

    def unrecorded(self, stage: Stage, attns: Sequence[str]) -> list[str]:
        """Return the mechanisms whose steps could not be recorded as CUDA graphs in this stage."""
        refused = set()
        for path in self.runs.glob("*/result.json"):
            result = json.loads(path.read_text(encoding="utf-8"))
            if result["status"] == "failed" and GRAPH in result["reason"]:
                refused.add(json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["attn"])
        return [attn for attn in attns if attn.replace("+", ",") in refused]


def train_all(grid: Grid) -> None:
    """Train the rest of the grid."""
    asked = grid.asked
    if not asked.digits and not (grid.folder / "raw").is_dir():
        grid.say("no --digits: MNIST is downloaded; without a network, give --digits FOLDER")
    left = list(grid_plan.steps(asked.seeds, asked.main.split(","), asked.stages))
    grid.wanted = list(dict.fromkeys(variant for _, stage in left for variant in stage.variants))
    grid.look()
    grid.choose()
    for seed, stage in left:
        grid.train(seed, stage)


def has_gpu() -> bool:
    """Return whether a CUDA device is available."""
    if shutil.which("nvidia-smi"):
        return driver_has_gpu()
    check = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0


def main() -> NoReturn:
    asked = parsed(__doc__)
    if asked.device == "cuda" and not has_gpu():
        refuse("no CUDA device here; --device cpu trains on the CPU, and --forecast prints for how many hours")
    if asked.forecast:
        from tests.perf.grid_forecast import forecast_of  # imports torch, which the grid itself does not need

        print(forecast_of(asked))
        sys.exit()
    asked.folder, asked.out = make_folder(asked.folder), make_folder(asked.out) if asked.out else None
    grid = Grid(asked)
    sys.exit(run(grid, partial(train_all, grid)))


if __name__ == "__main__":
    main()
