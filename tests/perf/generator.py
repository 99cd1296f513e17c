"""Measure the speed of the generator, as ratios within one run on one machine.

    python -m tests.perf.generator [--variant mbg] [--images 20000] [--many 0] [--root FOLDER]

1. Every variant on one core: the compiled renderer compared with the reference, after a check that both draw the same
   bytes.
2. `generate` end to end compared with h5py that writes the same arrays in place, with and without fsync.
3. Peak memory of `generate`, and the time of a process that generates three images.
4. With --many N: the time per image between 1,000 and N / 10 images and between N / 10 and N, with the same workers.
Digits are real (mnist5k) and photos are the builtin ones. FOLDER should be on the disk of interest.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from mnistref.common.text_table import table
from mnistref.dataset import read_split
from mnistref.generation import shard_worker
from mnistref.generation.executors import default_workers
from mnistref.generation.generate import Request, generate, make_jobs, plan
from mnistref.storage.schema import FIELDS, Arrays
from mnistref.variants import VARIANTS

ONE, FEW = 1000, 40
"""Numbers of images that the compiled renderer and the reference draw."""


@contextmanager
def reference() -> Iterator[None]:
    """Draw with the reference renderer inside this context."""
    shard_worker.COMPILED = False
    try:
        yield
    finally:
        shard_worker.COMPILED = True


def seconds(job: shard_worker.ShardJob, repeats: int) -> float:
    """Return the median processor time of drawing a shard."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        shard_worker.draw(job)
        times.append(time.process_time() - started)
    return statistics.median(times)


def request(variant: str, root: Path, images: int) -> Request:
    """Return the request of a data set with this many test images."""
    sizes = {s: images if s == "test" else 1 for s in VARIANTS[variant].splits}
    return Request(variant, root, sizes=sizes, digits="mnist5k")


def renderers(root: Path) -> list[list[str]]:
    """Return the table of the speeds of both renderers, for every variant."""
    rows = [["variant", "compiled, images/s", "reference, images/s", "ratio"]]
    for variant in VARIANTS:
        jobs = {n: make_jobs(plan(request(variant, root, n)))[-1] for n in (ONE, FEW)}
        fast = [a.copy() for a in shard_worker.draw(jobs[FEW])]
        with reference():
            for a, b in zip(fast, shard_worker.draw(jobs[FEW]), strict=True):
                np.testing.assert_array_equal(a, b)
            slow = FEW / seconds(jobs[FEW], 3)
        quick = ONE / seconds(jobs[ONE], 5)
        rows.append([variant, f"{quick:,.0f}", f"{slow:,.0f}", f"{quick / slow:.1f}"])
    return rows


def write_in_place(arrays: Arrays, path: Path, sync: bool) -> None:
    """Write the arrays with h5py, as a plain program would."""
    with h5py.File(path, "w") as file:
        for name, array in zip(FIELDS, arrays, strict=True):
            packed = {"compression": "gzip", "compression_opts": 1} if FIELDS[name].packed else {}
            file.create_dataset(name, data=array, **packed)
    if sync:
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def end_to_end(variant: str, images: int, root: Path) -> list[list[str]]:
    """Return the table of the speeds of `generate` and of h5py: medians of five alternating rounds."""
    generate(request(variant, root, 1))  # prepares the sources and the compiled code
    ours: list[float] = []
    theirs: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(5):
        started = time.perf_counter()
        folder = generate(request(variant, root, images))
        ours.append(images / (time.perf_counter() - started))
        arrays = read_split(folder, "test", *FIELDS)
        shutil.rmtree(folder)
        for sync, rates in theirs.items():
            os.sync()  # writes what the previous round left in the cache
            started = time.perf_counter()
            for first in range(0, images, 1000):
                part = Arrays(**{name: array[first : first + 1000] for name, array in arrays.items()})
                write_in_place(part, root / f"{first}.h5", sync)
            rates.append(images / (time.perf_counter() - started))
            for file in root.glob("*.h5"):
                file.unlink()
        os.sync()
    median = statistics.median(ours)
    rows = [["", "images/s", "generate's ratio"], [f"generate, {variant}, {images:,} images", f"{median:,.0f}", ""]]
    for sync, rates in theirs.items():
        ratios = [a / b for a, b in zip(ours, rates, strict=True)]
        span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} … {max(ratios):.2f})"
        name = f"h5py in place, {'then fsync' if sync else 'no fsync'}"
        rows.append([name, f"{statistics.median(rates):,.0f}", span])
    return rows


CHILD = """
import atexit, pathlib, re
status = pathlib.Path("/proc/self/status")  # not getrusage, which counts what the parent held when it forked
atexit.register(lambda: print("peak", re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]))
from cli import mnistref
mnistref()
"""


def start(variant: str, images: int, root: Path) -> tuple[float, float]:
    """Generate a data set in a new process. Return its seconds and its peak memory in MB."""
    sizes = [f"--{s}={images if s == 'test' else 1}" for s in VARIANTS[variant].splits]
    arguments = ["generate", f"--variant={variant}", f"--root={root}", *sizes, "--digits=mnist5k"]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=True, capture_output=True, text=True)
    return time.perf_counter() - started, int(done.stdout.split()[-1]) / 1024


def flatness(variant: str, many: int, root: Path) -> list[list[str]]:
    """Return the table of the time per additional image. The fixed cost of a data set cancels in the differences.

    The times are medians of three alternating rounds, because the speed of a disk varies.
    """
    workers = default_workers(1)
    sizes = (1000 * workers, many // 10, many)  # even the smallest has a shard for each worker
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(3):
        for size in sizes:
            started = time.perf_counter()
            folder = generate(request(variant, root, size), workers)
            times[size].append(time.perf_counter() - started)
            shutil.rmtree(folder)
    took = [statistics.median(times[size]) for size in sizes]
    each = [(took[k + 1] - took[k]) / (sizes[k + 1] - sizes[k]) for k in (0, 1)]
    rows = [[f"{workers} workers", "seconds", "µs per additional image", "ratio"]]
    rows.append([f"{sizes[0]:,} images", f"{took[0]:.2f}", "", ""])
    rows.append([f"{sizes[1]:,} images", f"{took[1]:.2f}", f"{1e6 * each[0]:.0f}", ""])
    rows.append([f"{sizes[2]:,} images", f"{took[2]:.2f}", f"{1e6 * each[1]:.0f}", f"{each[1] / each[0]:.2f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="mbg", choices=list(VARIANTS), help="variant of parts 2 to 4 (mbg)")
    parser.add_argument("--images", type=int, default=20_000, help="images of parts 2 and 3 (20000)")
    parser.add_argument("--many", type=int, default=0, help="images of part 4 (0: without this part)")
    parser.add_argument("--root", type=Path, help="folder for the data sets (default: the temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.root) as temporary:
        root = Path(temporary)
        small, memory = [], {}
        for images in (1, 2, 3):  # the first prepares the sources
            small.append(start("mini", images, root)[0])
        for variant, images in (("mini", 4), (options.variant, options.images), ("mbgb", 3000)):
            memory[f"{variant}, {images:,} images"] = start(variant, images, root)[1]
            for folder in (root / "datasets").iterdir():
                shutil.rmtree(folder)
        print(table(renderers(root)), end="\n\n", flush=True)
        print(table(end_to_end(options.variant, options.images, root)), end="\n\n", flush=True)
        print(f"a process that generates three images: {min(small[1:]):.2f} s")
        for what, peak in memory.items():
            print(f"peak memory, {what}: {peak:,.0f} MB ({default_workers(1)} processors)")
        if options.many:
            print()
            print(table(flatness(options.variant, options.many, root)))


if __name__ == "__main__":
    main()
