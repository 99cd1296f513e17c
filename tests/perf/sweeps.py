"""Measure the cost of process starts in a sweep: all runs in one worker process, compared with one process per run.

    python -m tests.perf.sweeps [--attn none,pan,arnn] [--seeds 4] [--rounds 3] [--threads 1]

The runs are those of `--preset quick` with one epoch, on a small data set of `mini` that is generated first. The two
ways alternate. The output has the processor seconds of all processes and the wall-clock seconds of a sweep: medians
over the rounds, and the processor seconds of each round.
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
    """Launch each run in a new process inside this context."""
    with ThreadPoolExecutor(1) as pool:
        yield sweep_workers.Launcher(pool, partial(subprocess_worker.launch, threads=threads))


def measure(tasks: Sequence[sweep.Task], place: Place) -> tuple[float, float]:
    """Return the processor seconds and the wall-clock seconds of a sweep into a new folder."""
    used, started = processor_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as runs, place() as launcher:
        ended = sweep.sweep(tasks, Path(runs), launcher)
    wrong = [result.reason for result in ended.values() if result.status != "ok"]
    if wrong:
        raise RuntimeError(wrong[0])
    return processor_seconds() - used, time.perf_counter() - started


def processor_seconds() -> float:
    """Return the processor seconds of this process and of its finished child processes."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attn", default="none,pan,arnn", help="mechanisms (none,pan,arnn)")
    parser.add_argument("--seeds", type=int, default=4, help="number of seeds (4)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of measurement (3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run (1)")
    asked = parser.parse_args()
    recipe = replace(PRESETS["quick"].recipe, epochs=1)
    places: dict[str, Place] = {
        "one process per run": lambda: a_process_each(asked.threads),
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
    rows = [["", "processor s", "per run", "wall s", "processor s of each round"]]
    for name, values in found.items():
        processor, wall = (statistics.median(column) for column in zip(*values, strict=True))
        each = ", ".join(f"{used:.1f}" for used, _ in values)
        rows.append([name, f"{processor:.1f}", f"{processor / len(tasks):.2f}", f"{wall:.1f}", each])
    print(f"{len(tasks)} runs of one epoch of mini, {asked.threads} threads, {asked.rounds} rounds\n")
    print(table(rows))


if __name__ == "__main__":
    main()
