"""How much of a training is its steps, as ratios in one run on one machine.

    python -m tests.perf.training [--attn none,san] [--images 500] [--rounds 7] [--many 20000] [--root FOLDER]

1. Epochs of a real training, its images resident, streamed from the disk, and drawn online, over the same steps on one
   batch that is already there: images per second, their ratio, and what part of a step goes by before its batch is
   there (on a CPU that is waiting, gathering and making floats of bytes; a GPU does the last two in its own time).
2. Peak memory of a process that trains on --many images, beyond that of one that trains on 100. mbg has 30 kB an image.
3. On a CPU: a step with freed memory kept by the process, and with what the C library does by itself.
4. On a CPU: a step with the network and its images channels last and contiguous, on one thread and on two.
What is compared takes turns. Real digits (mnist5k) and the builtin photos. Processor time bears busy neighbours better.
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
from bench.data.online import OnlineImages
from bench.data.split import Batch, Split
from bench.model import build
from bench.profiling.timing import random_batch
from bench.training.step import Step, build_optimizer
from bench.training.trainer import Trainer, TrainingData
from mnistref.common.text_table import table
from mnistref.generation.generate import Request, generate
from mnistref.generation.online import open_fresh
from mnistref.variants import get_variant

MODES = ("resident", "streamed", "online")
RECIPE = FIRST_RECIPES["fast"]  # a question about each image: the least work for what has to be brought
Work = Callable[[], float]


class Watched:
    """What is trained on, and how long was waited for it."""

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

    def of_epoch(self, epoch: int) -> "Watched":
        started = time.perf_counter()
        self.split: Split = self.epochs.of_epoch(epoch)
        self.waited += time.perf_counter() - started
        return self

    def of_parts(self, *arguments) -> Iterator[Batch]:
        with closing(self.split.of_parts(*arguments)) as batches:
            while True:
                started = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - started
                if batch is None:
                    return
                yield batch


def made(variant: str, images: int, root: Path) -> Path:
    return generate(Request(variant, root, sizes={"train": images, "val": 2, "test": 1}, digits="mnist5k"))


def training_data(mode: str, folder: Path, device: torch.device, epochs: int) -> Split | OnlineImages:
    if mode != "online":
        return load_split(folder, "train", "one", device, stream=mode == "streamed")
    fresh = open_fresh(folder, folder.parent.parent / "raw")
    return OnlineImages(fresh, fresh.images, "one", device, epochs, stream=False)


def trainer_of(
    attn: str, variant: str, folder: Path, data: TrainingData, epochs: int, computing: ComputeConfig
) -> Trainer:
    model = build(attn, get_variant(variant), 0, computing.device)
    val = load_split(folder, "val", "one", computing.device, stream=False)
    return Trainer(replace(RECIPE, epochs=epochs), model, data, val, 0, computing)


def seconds(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Of the clock, and of this process's processors."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started, used = time.perf_counter(), time.process_time()
    work()
    wait()
    return time.perf_counter() - started, time.process_time() - used


def epochs_over_steps(attn: str, variant: str, folder: Path, rounds: int, computing: ComputeConfig) -> list[list[str]]:
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
        if not k:  # the first warms up
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
for epoch in range(epochs):  # and all images are looked at once more, without the steps
    for batch in data.of_epoch(epoch).batches(50):
        pass
status = pathlib.Path("/proc/self/status").read_text()
print(*(int(re.search(name + r":\\\\s*(\\\\d+)", status)[1]) for name in ("VmHWM", "RssAnon")))
""".replace("\\\\", "\\")


def peak(mode: str, variant: str, folder: Path) -> float:
    """MB that a process of its own held at most."""
    arguments = [sys.executable, "-c", CHILD, mode, variant, str(folder), "2"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0]) / 1024


def memory(variant: str, many: int, root: Path) -> list[list[str]]:
    size = many * get_variant(variant).canvas ** 2 * 3 / 1e6
    few, folder = made(variant, 100, root), made(variant, many, root)
    rows = [["", "peak, MB", f"beyond one on 100 images, MB (the images: {size:,.0f})"]]
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
    spec, computing = get_variant(variant), ComputeConfig(torch.device("cpu"))
    model = build(attn, spec, 0, computing.device).train()
    step = Step(model, RECIPE, build_optimizer(RECIPE, model), computing)
    data = random_batch(RECIPE.batch, spec, computing.device)
    return lambda: step(*data), computing.device


def freed(attn: str, variant: str, rounds: int) -> list[list[str]]:
    """Milliseconds of a step, in processes that take turns."""
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
    """Milliseconds of a step, each way in turn."""
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
    parser.add_argument("--attn", default="none,san")
    parser.add_argument("--variant", default="mbg")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--many", type=int, default=20_000)
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    computing, attns = resolve_compute(), options.attn.split(",")
    keep_freed(computing.device)
    with tempfile.TemporaryDirectory(dir=options.root) as temporary:
        root = Path(temporary)
        folder = made(options.variant, options.images, root)
        print(f"{computing.device_name}, {torch.get_num_threads()} threads, batches of {RECIPE.batch}", flush=True)
        rows = [["attn", "", "images/s", "of the limit (quartiles)", "in processor time", "before a batch is there"]]
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
            rows = [["attn", "layout", "threads", "step, ms", "of the first"]]
            for attn in attns:
                rows += layouts(attn, options.variant, options.rounds)
            print(table(rows))


if __name__ == "__main__":
    main()
