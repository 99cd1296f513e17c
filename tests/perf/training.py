"""Measure the share of steps in the time of a training, as ratios within one run on one machine.

    python -m tests.perf.training [--attn none,san] [--images 500] [--rounds 7] [--many 20000] [--root FOLDER]

1. Epochs of a training with resident, streamed and online images, compared with the same number of steps on one batch
   in memory (the limit): images per second, their ratio, and the share of the time before a batch is available. On a
   CPU this share is waiting, gathering, and the conversion of bytes to floats; a GPU does the last two asynchronously.
2. Peak memory of a process that trains on --many images, minus that of a process that trains on 100. An image of mbg
   has 30 kB.
3. On a CPU: a step with freed memory kept by the process, compared with the default of the C library.
4. On a CPU: a step with network and images channels last and contiguous, on one thread and on two.
The compared measurements alternate. Digits are real (mnist5k) and photos are the builtin ones. On a busy machine,
processor time is more reliable than wall-clock time.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bench.common.memory import keep_freed
from bench.compute import ComputeConfig, resolve_compute
from bench.config import FIRST_RECIPES
from bench.data.loading import load_split
from bench.data.online import OnlineImages, OnlineQuestions
from bench.data.split import Batch, Split
from bench.model import build
from bench.profiling.timing import random_batch
from bench.training.step import Step, build_optimizer
from bench.training.trainer import Trainer, TrainingData, TrainingSplits
from mnistref.common.text_table import table
from mnistref.generation.generate import Request, generate
from mnistref.generation.online import open_online_generator
from mnistref.variants import get_variant

MODES = ("resident", "streamed", "online")
RECIPE = FIRST_RECIPES["fast"]  # one question per image: the least work per image that is loaded
Work = Callable[[], float]


class Watched:
    """Training data that measures the time spent waiting for batches."""

    def __init__(self, epochs: TrainingData) -> None:
        self.epochs, self.waited = epochs, 0.0

    def __len__(self) -> int:
        return len(self.epochs)

    @property
    def image_count(self) -> int:
        return self.epochs.image_count

    @property
    def image(self) -> Tensor:
        return self.split.image

    def split_for_epoch(self, epoch: int) -> "Watched":
        started = time.perf_counter()
        self.split: Split = self.epochs.split_for_epoch(epoch)
        self.waited += time.perf_counter() - started
        return self

    def iter_index_batches(self, *arguments) -> Iterator[Batch]:
        with closing(self.split.iter_index_batches(*arguments)) as batches:
            while True:
                started = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - started
                if batch is None:
                    return
                yield batch


def made(variant: str, images: int, root: Path) -> Path:
    """Generate a data set with this many training images, and return its folder."""
    return generate(Request(variant, root, sizes={"train": images, "val": 2, "test": 1}, digits="mnist5k"))


def training_data(mode: str, folder: Path, device: torch.device, epochs: int) -> Split | OnlineImages:
    """Return the training data of a mode, one of `MODES`."""
    if mode != "online":
        return load_split(folder, "train", "one", device, stream=mode == "streamed")
    fresh = open_online_generator(folder, folder.parent.parent / "raw")
    return OnlineImages(fresh, OnlineQuestions(fresh.images, "one"), device, epochs, stream=False)


def trainer_of(
    attn: str, variant: str, folder: Path, data: TrainingData, epochs: int, computing: ComputeConfig
) -> Trainer:
    """Return a trainer on this data."""
    model = build(attn, get_variant(variant), 0, computing.device)
    val = load_split(folder, "val", "one", computing.device, stream=False)
    return Trainer(replace(RECIPE, epochs=epochs), model, TrainingSplits(data, val), 0, computing)


def seconds(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return the wall-clock seconds and the processor seconds of a call."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started, used = time.perf_counter(), time.process_time()
    work()
    wait()
    return time.perf_counter() - started, time.process_time() - used


def epochs_over_steps(attn: str, variant: str, folder: Path, rounds: int, computing: ComputeConfig) -> list[list[str]]:
    """Return the rows of part 1 for a mechanism."""
    device = computing.device
    data = {mode: Watched(training_data(mode, folder, device, rounds + 2)) for mode in MODES}
    trainers = {m: trainer_of(attn, variant, folder, d, rounds + 2, computing) for m, d in data.items()}
    running = {mode: trainer.epochs() for mode, trainer in trainers.items()}
    one = trainer_of(attn, variant, folder, data["resident"], 1, computing)
    batch = data["resident"].epochs.batch(torch.arange(one.batch, device=device))

    def limit() -> None:
        one.model.train()
        for _ in range(one.steps_per_epoch):
            one.step(batch.images, batch.query, batch.label)

    works = {"limit": limit} | {m: (lambda e=e: next(e)) for m, e in running.items()}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for k in range(rounds + 1):
        for name in list(works)[:: -1 if k % 2 else 1]:
            took[name].append(seconds(works[name], device))
        if not k:  # the first round is the warm-up
            for name in works:
                took[name].clear()
            for watched in data.values():
                watched.waited = 0.0
    data["online"].epochs.close()
    images, rows = one.steps_per_epoch * one.batch, []
    for name, times in took.items():
        ratios = [[b[k] / a[k] for a, b in zip(times, took["limit"], strict=True)] for k in (0, 1)]
        rate, whole = images / statistics.median(t for t, _ in times), sum(t for t, _ in times)
        low, _, high = statistics.quantiles(ratios[0], method="inclusive")
        stall = f"{100 * data[name].waited / whole:.2f} %" if name in data else ""
        spread = f"{statistics.median(ratios[0]):.3f} ({low:.3f}–{high:.3f})"
        rows.append([attn, name, f"{rate:.0f}", spread, f"{statistics.median(ratios[1]):.3f}", stall])
    return rows


CHILD = """
import pathlib, re, sys
from bench.compute import resolve_compute
from bench.common.memory import keep_freed
from tests.perf.training import trainer_of, training_data
mode, variant, folder, epochs = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
computing = resolve_compute()
keep_freed(computing.device)
data = training_data(mode, folder, computing.device, 3)
trainer, steps = trainer_of("none", variant, folder, data, 3, computing), []
class Enough(Exception): pass
def on_step():
    steps.append(1)
    if len(steps) >= 10:
        raise Enough
try:
    for _ in trainer.epochs(on_step):
        pass
except Enough:
    pass
for epoch in range(epochs):  # reads all images again, without steps
    for batch in data.split_for_epoch(epoch).batches(50):
        pass
status = pathlib.Path("/proc/self/status").read_text()
print(*(int(re.search(name + r":\\\\s*(\\\\d+)", status)[1]) for name in ("VmHWM", "RssAnon")))
""".replace("\\\\", "\\")


def peak(mode: str, variant: str, folder: Path) -> float:
    """Return the peak memory of a new process that trains, in MB."""
    arguments = [sys.executable, "-c", CHILD, mode, variant, str(folder), "2"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0]) / 1024


def memory(variant: str, many: int, root: Path) -> list[list[str]]:
    """Return the table of part 2."""
    size = many * get_variant(variant).canvas ** 2 * 3 / 1e6
    few, folder = made(variant, 100, root), made(variant, many, root)
    rows = [["", "peak, MB", f"more than with 100 images, MB (the images have {size:,.0f})"]]
    for mode in MODES:
        base, whole = peak(mode, variant, few), peak(mode, variant, folder)
        rows.append([mode, f"{whole:,.0f}", f"{whole - base:,.0f}"])
    return rows


STEPS = """
import statistics, sys
from bench.common.memory import keep_freed
from tests.perf.training import seconds, step_of
step, device = step_of(sys.argv[1], sys.argv[3])
if sys.argv[2] == "kept":
    keep_freed(device)
times = [seconds(step, device) for _ in range(10)][3:]
print(*(statistics.median(part) for part in zip(*times)))
"""


def step_of(attn: str, variant: str) -> tuple[Callable[[], object], torch.device]:
    """Return a training step on the CPU, and its device."""
    spec, computing = get_variant(variant), ComputeConfig(torch.device("cpu"))
    model = build(attn, spec, 0, computing.device).train()
    step = Step(model, RECIPE, build_optimizer(RECIPE, model), computing)
    data = random_batch(RECIPE.batch, spec, computing.device)
    return lambda: step(*data), computing.device


def freed(attn: str, variant: str, rounds: int) -> list[list[str]]:
    """Return the rows of part 3 for a mechanism: milliseconds of a step, in alternating processes."""
    took: dict[str, list[list[float]]] = {"given back": [], "kept": []}
    for k in range(rounds):
        for how in list(took)[:: -1 if k % 2 else 1]:
            arguments = [sys.executable, "-c", STEPS, attn, how, variant]
            done = subprocess.run(arguments, check=True, capture_output=True, text=True)
            took[how].append([1e3 * float(part) for part in done.stdout.split()])
    return [
        [attn, how, *(f"{statistics.median(part):.0f}" for part in zip(*t, strict=True))] for how, t in took.items()
    ]


def layouts(attn: str, variant: str, rounds: int) -> list[list[str]]:
    """Return the rows of part 4 for a mechanism: milliseconds of a step, in alternation."""
    spec, computing, works = get_variant(variant), ComputeConfig(torch.device("cpu")), {}
    images, query, label = random_batch(RECIPE.batch, spec, computing.device)
    for name, layout in (("channels last", torch.channels_last), ("contiguous", torch.contiguous_format)):
        model = build(attn, spec, 0, computing.device).to(memory_format=layout).train()
        step = Step(model, RECIPE, build_optimizer(replace(RECIPE, lr=1e-6), model), computing)
        given = images.contiguous(memory_format=layout)
        works[name] = lambda step=step, given=given: step(given, query, label)
    took: dict[tuple[str, int], list[float]] = {(name, n): [] for n in (1, 2) for name in works}
    before = torch.get_num_threads()
    for k in range(rounds + 1):
        for name, threads in list(took)[:: -1 if k % 2 else 1]:
            torch.set_num_threads(threads)
            taken = seconds(works[name], computing.device)[0]
            took[name, threads] += [taken] if k else []
    torch.set_num_threads(before)
    first = took["channels last", 1]
    rows = []
    for (name, threads), times in took.items():
        ratio = statistics.median(a / b for a, b in zip(times, first, strict=True))
        rows.append([attn, name, str(threads), f"{1e3 * statistics.median(times):.0f}", f"{ratio:.2f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attn", default="none,san", help="mechanisms (none,san)")
    parser.add_argument("--variant", default="mbg", help="variant of the data set (mbg)")
    parser.add_argument("--images", type=int, default=500, help="training images of part 1 (500)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of measurement (7)")
    parser.add_argument("--many", type=int, default=20_000, help="training images of part 2 (20000; 0: without it)")
    parser.add_argument("--root", type=Path, help="folder for the data sets (default: the temporary folder)")
    options = parser.parse_args()
    computing, attns = resolve_compute(), options.attn.split(",")
    keep_freed(computing.device)
    with tempfile.TemporaryDirectory(dir=options.root) as temporary:
        root = Path(temporary)
        folder = made(options.variant, options.images, root)
        print(f"{computing.device_name}, {torch.get_num_threads()} threads, batches of {RECIPE.batch}", flush=True)
        rows = [["attn", "", "images/s", "ratio to the limit (quartiles)", "in processor time", "waiting for batches"]]
        for attn in attns:
            rows += epochs_over_steps(attn, options.variant, folder, options.rounds, computing)
        print(table(rows), end="\n\n", flush=True)
        if options.many:
            print(table(memory(options.variant, options.many, root)), end="\n\n", flush=True)
        if computing.device.type == "cpu":
            rows = [["attn", "freed memory", "step, ms", "in processor time"]]
            for attn in attns:
                rows += freed(attn, options.variant, 3)
            print(table(rows), end="\n\n", flush=True)
            rows = [["attn", "layout", "threads", "step, ms", "ratio to the first"]]
            for attn in attns:
                rows += layouts(attn, options.variant, options.rounds)
            print(table(rows))


if __name__ == "__main__":
    main()
