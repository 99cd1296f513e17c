"""The papers' grid of mechanisms and variants on a GPU, in slices, each of which may be ended at any second.

    python -m tests.perf.grid FOLDER PHOTOS [SECONDS] [options]

Data and runs go to FOLDER, which may be in memory. PHOTOS: the folder of photographs for the backgrounds, or builtin.
With --out, records of finished runs are packed there after every run: records-1.tar.xz, records-2.tar.xz and, where they
fit, weights-1.tar.xz, of at most 16 MB each, with grid.json (what was chosen and done) and grid.log. The three files of
a session (`tests.perf.gpu_session`) have room beside these five where eight may be brought back. Unpacked into a folder,
`bench leaderboard --runs` reads them.

It ends after SECONDS (540): with 75 where something is left (give the same command again, and it goes on where it was),
with 0 where nothing is. Another code is that of the command that failed. Runs that failed are tried again with the next
seed, or once FOLDER/over is deleted. `tests.perf.grid_plan` has the order.
"""

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from mnistref.files import write_whole
from tests.perf import grid_plan
from tests.perf.grid_plan import Stage
from tests.perf.packs import Packs
from tests.perf.places import remove_partial

TOP = Path(__file__).parents[2]
LEFT = 75
RECORDS = "config.json", "environment.json", "history.jsonl", "result.json", "answers.safetensors"
LARGEST = 16_000_000
LOOK = 0.1
"""Seconds between two looks at what is on."""


class OverError(Exception):
    """The time is over, or somebody wants the end: `code` is what to end with."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Grid:
    """The commands that are on, what came of them, and the clock."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.folder, self.out = asked.folder.absolute(), asked.out.absolute() if asked.out else None
        self.begun = time.monotonic()
        self.margin = min(asked.margin, asked.seconds / 4)
        self.sets: dict[str, str] = {}
        self.lacking: dict[str, int] = {}
        self.finished: list[Path] = []
        self.making: tuple[str, subprocess.Popen[str]] | None = None
        self.wanted: list[str] = []
        self.about: dict[str, Any] = {"stages": []}
        self.stopped = 0  # the signal
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.out or self.folder).mkdir(parents=True, exist_ok=True)
        remove_partial(self.out or self.folder)
        self.log = open((self.out or self.folder) / "grid.log", "a", encoding="utf-8")  # noqa: SIM115
        self.packs: list[Packs] = []
        if self.out:
            self.packs = [Packs(self.out, "records", RECORDS, 2, LARGEST)]
            self.packs += [Packs(self.out, "weights", ["weights.safetensors"], 1, LARGEST)]

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
        return subprocess.Popen(arguments, cwd=TOP, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def waited(self, process: subprocess.Popen[str]) -> int:
        """Wait for a command while everything else goes on. → its exit code."""
        while process.poll() is None:
            try:
                self.look()
            except OverError:
                self.interrupt(process)
                raise
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

    def look(self) -> None:
        """See to what is finished: sets, runs, and the time. Raise OverError when it is over."""
        self.make()
        self.gather()
        if self.stopped:
            raise OverError(128 + self.stopped)
        if self.passed >= self.asked.seconds - self.margin:
            raise OverError(LEFT)

    def make(self) -> None:
        """Begin the next set when the one before is made."""
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
            sizes = [t for pair in zip(("--train", "--val", "--test"), self.asked.sizes, strict=True) for t in pair]
            options = ["--variant", variant, "--root", str(self.folder), *sizes]
            options += ["--digits", self.asked.digits] if self.asked.digits else []
            options += ["--backgrounds", self.asked.photos] if variant.startswith("mbg") else []
            self.making = variant, self.start([*self.asked.program, "mnistref", "generate", *options])

    def gather(self) -> None:
        """Pack the runs that are newly finished, and link all in one folder, for boards over all variants."""
        folder, every = self.folder / "runs", self.folder / "all"
        every.mkdir(exist_ok=True)
        found = {path.parent for stage in ("*", "*/*") for path in folder.glob(f"{stage}/*/result.json")}
        for run in sorted(found.difference(self.finished)):
            if not (every / run.name).is_symlink():
                (every / run.name).symlink_to(run)
            self.finished.append(run)
        for packs in self.packs:
            packs.add(self.finished)
        if len(self.finished) != self.about.get("finished"):
            left_out = [name for packs in self.packs for name in packs.left_out]
            self.tell(finished=len(self.finished), left_out=left_out)

    def set_of(self, variant: str) -> str:
        """Wait for a set. → its folder."""
        while variant not in self.sets:
            self.look()
            time.sleep(LOOK)
        if variant in self.lacking:
            raise OverError(self.lacking[variant])
        return self.sets[variant]

    def end(self) -> None:
        """End what is on, and pack what came of it."""
        if self.making:
            self.interrupt(self.making[1])
        self.gather()

    def epochs(self) -> int:
        """Return how many epochs every run has: as before, as asked for, or as many as fit."""
        kept = self.folder / "epochs.json"
        if self.asked.epochs:
            return int(self.asked.epochs)
        if kept.is_file():
            return int(json.loads(kept.read_text()))
        names, batch, questions = self.asked.main.split(","), self.asked.batch, self.asked.questions
        times = grid_plan.times_of(self.asked.session, names, batch, questions) if self.asked.session else {}
        times = times or self.probed(names)
        train, val, _ = map(int, self.asked.sizes)
        given = self.asked.seconds - self.passed - self.margin, times, train, val, batch, self.asked.workers
        chosen = grid_plan.epochs_in(*given, self.asked.most_epochs)
        write_whole(kept, json.dumps(chosen).encode())
        self.tell(epochs=chosen, times=times)
        return chosen

    def probed(self, names: list[str]) -> dict[str, dict[str, float]]:
        """Measure a step of these mechanisms, while the first set is made."""
        options = ["--device", self.asked.device, "--batch", str(self.asked.batch)]
        options += ["--questions", str(self.asked.questions), "--variant", self.asked.probe]
        process = self.start([sys.executable, "-m", "tests.perf.grid_probe", ",".join(names), *options])
        code = self.waited(process)
        assert process.stdout is not None
        if code:
            self.tell(failed=f"the probe of a step ended with {code}")
            raise OverError(code)
        rows = [json.loads(line) for line in process.stdout if line.startswith("{")]
        return {row["network"]: {k: row[k] for k in ("train_step_ms", "infer_ms_per_image")} for row in rows}

    def train(self, seed: int, stage: Stage, epochs: int) -> None:
        """Do the runs of a stage up to this seed, unless that is over."""
        training = ["--device", self.asked.device, "--recipe", "fast", "--batch", str(self.asked.batch)]
        training += ["--questions", str(self.asked.questions), "--epochs", str(epochs)]
        if self.asked.device == "cuda":
            training += ["--precision", "bf16", "--capture", "graph"]
        training += shlex.split(self.asked.training)
        folder = self.folder / "runs"
        training += ["--init", str(folder / stage.after)] if stage.after else []
        training += ["--fade", str(stage.fade)] if stage.fade else []
        key = repr((training, stage, self.asked.photos, self.asked.sizes))
        over = self.folder / "over" / f"{stage.runs.replace('/', '-')}-s{seed}-{sha256(key.encode()).hexdigest()[:10]}"
        if over.is_file():
            return
        what = ["--data", self.set_of(stage.variant), "--attn", ",".join(stage.attns), "--seeds", str(seed + 1)]
        where = ["--runs", str(folder / stage.runs), "--workers", str(self.asked.workers)]
        code = self.waited(self.start([*self.asked.program, "bench", "sweep", *what, *where, *training]))
        self.about["stages"].append({"stage": stage.runs, "seed": seed, "code": code, "at": round(self.passed, 1)})
        self.tell()
        if code not in (0, 6):  # 6: some runs ended badly, and say so on the board
            raise OverError(code)
        write_whole(over, b"")


def run(asked: argparse.Namespace) -> int:
    """Train what is left of the grid until the time is over. → the exit code."""
    grid = Grid(asked)

    def stop(number: int, _: Any) -> None:
        grid.stopped = number

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    left = list(grid_plan.steps(asked.seeds, asked.main.split(","), asked.stages))
    grid.wanted = list(dict.fromkeys(stage.variant for _, stage in left))
    try:
        grid.look()
        epochs = grid.epochs()
        for seed, stage in left:
            grid.train(seed, stage, epochs)
        code = 0
    except OverError as over:
        code = over.code
    grid.end()
    grid.tell(code=code)
    return code


def has_gpu() -> bool:
    """Return whether there is a CUDA device; the driver's own program says so sooner than PyTorch."""
    if shutil.which("nvidia-smi"):
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0
    check = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "bench/grid.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("photos", metavar="PHOTOS")
    parser.add_argument("seconds", type=float, nargs="?", default=540.0, metavar="SECONDS")
    parser.add_argument("--out", type=Path, help="where records are packed")
    parser.add_argument("--digits", help="a folder of MNIST's files, or mnist5k")
    parser.add_argument("--seeds", type=int, default=5, help="how many: 0, 1, … (5)")
    parser.add_argument("--workers", type=int, default=3, help="runs at a time (3)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--batch", type=int, default=32, help="images in a step (32)")
    parser.add_argument("--questions", type=int, default=5, help="about each of them (5)")
    parser.add_argument("--epochs", type=int, help="instead of as many as fit into SECONDS")
    parser.add_argument("--most-epochs", type=int, default=30, help="where more would fit (30)")
    parser.add_argument("--session", type=Path, help="session.json of bench/gpu_session.sh, instead of a probe")
    parser.add_argument("--training", default="", help="more options of bench sweep, as one word")
    parser.add_argument("--sizes", nargs=3, default=["30000", "10000", "10000"], metavar=("TRAIN", "VAL", "TEST"))
    parser.add_argument("--main", default=",".join(grid_plan.MAIN), help="the mechanisms that come first")
    parser.add_argument("--stages", type=int, help="only so many stages")
    parser.add_argument("--margin", type=float, default=25.0, help="seconds before the end when runs are ended (25)")
    parser.add_argument("--probe", default="mref", help=argparse.SUPPRESS)
    parser.add_argument(
        "--program", type=shlex.split, default=[sys.executable, str(TOP / "cli.py")], help=argparse.SUPPRESS
    )
    asked = parser.parse_args(arguments)
    if asked.photos != "builtin":
        if not Path(asked.photos).is_dir():
            parser.exit(2, f"{asked.photos}: no folder of photographs here\n")
        asked.photos = str(Path(asked.photos).absolute())
    if asked.digits and Path(asked.digits).is_dir():
        asked.digits = str(Path(asked.digits).absolute())
    return asked


def main() -> NoReturn:
    asked = parsed()
    if asked.device == "cuda" and not has_gpu():
        sys.exit(_said("no CUDA device here; --device cpu trains on the CPU, for weeks"))
    sys.exit(run(asked))


def _said(problem: str) -> int:
    print(problem, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
