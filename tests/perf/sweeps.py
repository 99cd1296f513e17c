"""What the start of a process costs a sweep: its runs in one worker, one after the other, against a process each.

    python -m tests.perf.sweeps [--attn none,pan,arnn] [--seeds 4] [--rounds 3] [--threads 1]

Runs of `--preset quick` with one epoch, on a small set of `mini` that is made first. The two ways take turns. Printed
are processor seconds of all processes of the sweep, then wall-clock seconds: the median of the rounds, and each round.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from bench.attention import resolve_network, split_networks
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH, PRESETS
from bench.runs import subprocess_worker, sweep, sweep_workers
from bench.runs.configure import RunSettings
from mnistref.common.text_table import table
from mnistref.generation.generate import Request, generate

SIZES = {"train": 500, "val": 100, "test": 100}
Place = Callable[[], AbstractContextManager[sweep_workers.Launcher]]


@contextmanager
def a_process_each(threads: int) -> Iterator[sweep_workers.Launcher]:
    with ThreadPoolExecutor(1) as pool:
        yield sweep_workers.Launcher(pool, partial(subprocess_worker.launch, threads=threads))


def measure(tasks: Sequence[sweep.Task], place: Place) -> tuple[float, float]:
    """Return processor and wall-clock seconds of a sweep into a new folder."""
    used, started = processor_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as runs, place() as launcher:
        ended = sweep.sweep(tasks, Path(runs), launcher)
    wrong = [result.reason for result in ended.values() if result.status != "ok"]
    if wrong:
        raise RuntimeError(wrong[0])
    return processor_seconds() - used, time.perf_counter() - started


def processor_seconds() -> float:
    """Return those of this process, and of its children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attn", default="none,pan,arnn")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    recipe = replace(PRESETS["quick"].recipe, epochs=1)
    places: dict[str, Place] = {
        "a process each": lambda: a_process_each(asked.threads),
        "one worker": lambda: sweep_workers.local_workers("cpu", 1, asked.threads),
    }
    with tempfile.TemporaryDirectory() as root:
        data = generate(Request("mini", Path(root), 0, SIZES, "mnist5k"))
        computing = ComputeConfig(torch.device("cpu"))
        tasks = sweep.SweepPlan(
            [resolve_network(attn, DEFAULT_WIDTH) for attn in split_networks(asked.attn)],
            [data],
            asked.seeds,
            RunSettings(recipe, "one", computing),
        ).build_tasks()
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in places}
        for k in range(asked.rounds):
            for name in [*places][:: -1 if k % 2 else 1]:
                found[name].append(measure(tasks, places[name]))
    rows = [["", "processor s", "a run", "wall s", "processor s of each round"]]
    for name, values in found.items():
        processor, wall = (statistics.median(column) for column in zip(*values, strict=True))
        each = ", ".join(f"{used:.1f}" for used, _ in values)
        rows.append([name, f"{processor:.1f}", f"{processor / len(tasks):.2f}", f"{wall:.1f}", each])
    print(f"{len(tasks)} runs of one epoch of mini, {asked.threads} threads, {asked.rounds} rounds\n")
    print(table(rows))


if __name__ == "__main__":
    main()
