"""Train the papers' tables on natural images in slices, on a GPU or slowly on a CPU. A slice may be killed.

    python -m tests.perf.task_grid FOLDER TASKS [SECONDS] [options]

TASKS are tasks of `bench run`, separated by commas: cifar100, cifar10, … or folder:DIR. FOLDER gets their prepared
images and the runs. The runs are those of AttentionRNN, Table 4 (ResNet-18 with CBAM and with CBAM-ARNN), and of Learn
to Pay Attention, Table 1 (VGG and ResNet-164), with `vgg-late`, the control that the table lacks. Their recipes have
200 to 300 epochs; --fast takes the short version of each.

The command ends after SECONDS (540). Exit code 75: runs are left, and the same command resumes. Exit code 0: all runs
are done. Any other exit code is that of the command that failed. With --out, the records of finished runs are packed
into OUT after every run, see `tests.perf.grid`. `tests.perf.task_grid_plan` has the order of the runs.

Then: bench leaderboard --runs FOLDER/all; with --claims it also checks the papers' claims.
"""

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from bench.tasks import resolve_task
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import ProblemError
from tests.perf.grid import has_gpu
from tests.perf.grid_commands import OverError
from tests.perf.grid_options import PROGRAM
from tests.perf.grid_sweeps import RUNS_FAILED, Sweeps, run
from tests.perf.places import at_least, make_folder, positive_seconds, refuse
from tests.perf.task_grid_plan import TABLES, Group, steps


class TaskGrid(Sweeps):
    """The runs and packs of the grid."""

    def train(self, seed: int, task: str, group: Group) -> None:
        """Train the runs of a group on a task up to this seed, unless an earlier slice did.

        Raises:
            OverError: If the time is over, a signal arrived, or the sweep failed.
        """
        asked = self.asked
        training = ["--network", group.network, "--recipe", group.recipe, "--device", asked.device]
        training += ["--width", str(asked.width)] if asked.width else []
        training += ["--canvas", str(asked.canvas)] if asked.canvas else []
        training += ["--epochs", str(asked.epochs)] if asked.epochs else []
        training += ["--precision", "bf16"] if asked.device == "cuda" else []
        training += shlex.split(asked.training)
        name = f"{task.rpartition('/')[2].replace(':', '-')}/{group.network}"
        over = self.over_file(f"{name}-s{seed}", (training, group, task))
        if over.is_file():
            return
        command = [*asked.program, "bench", "sweep", "--task", task, "--attn", ",".join(group.attns)]
        command += ["--seeds", str(seed + 1), "--root", str(self.folder), "--workers", str(asked.workers)]
        command += ["--runs", str(self.folder / "runs" / name), *training]
        code = self.trained({"stage": name, "seed": seed}, command)
        if code not in (0, RUNS_FAILED):
            raise OverError(code)
        write_whole(over, b"")


def train_all(grid: TaskGrid) -> None:
    """Train the rest of the grid, with one seed after the other."""
    for seed, group in steps(grid.asked.seeds, grid.asked.tables, grid.asked.fast):
        for task in grid.asked.tasks:
            grid.train(seed, task, group)


def tasks_in(text: str) -> list[str]:
    """Return the tasks in a list separated by commas, with absolute folders. Exit with one line if there is none."""
    tasks = []
    for task in text.split(","):
        try:
            resolve_task(task)
        except ProblemError as error:
            refuse(str(error))
        kind, _, folder = task.partition(":")
        if folder and not Path(folder).is_dir():
            refuse(f"{folder}: no folder of images here")
        tasks.append(f"{kind}:{Path(folder).absolute()}" if folder else task)
    return tasks


def tables_in(text: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas. Exit with one line if there is no such table."""
    names = tuple(text.split(","))
    for name in names:
        if name not in TABLES:
            refuse(f"--tables {name}: give {' or '.join(TABLES)}")
    return names


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the checked options. Exit with code 2 and one line if a value is wrong."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("bench/scripts/task_grid.sh", description=__doc__, formatter_class=raw)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of data and runs")
    parser.add_argument("tasks", metavar="TASKS", help="tasks, separated by commas")
    parser.add_argument(
        "seconds", type=positive_seconds, nargs="?", default=540.0, metavar="SECONDS", help="time limit (540)"
    )
    parser.add_argument("--tables", default=",".join(TABLES), help="which tables (all)")
    parser.add_argument("--fast", action="store_true", help="the short version of each recipe")
    parser.add_argument("--out", type=Path, help="folder of the packed records")
    parser.add_argument("--seeds", type=at_least(1), default=3, help="number of seeds: 0, 1, … (3)")
    parser.add_argument("--workers", type=at_least(1), default=3, help="runs at the same time (3)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="device of the runs (cuda)")
    parser.add_argument("--width", type=at_least(1), help="channels of the first stage (default: the papers')")
    parser.add_argument("--canvas", type=at_least(1), help="side of the images (default: the task's)")
    parser.add_argument("--epochs", type=at_least(1), help="epochs (default: the recipe's)")
    parser.add_argument("--caches", type=Path, help="caches.tar.xz of tests/perf/gpu_session.sh")
    parser.add_argument("--kept", type=Path, help="folder of compiled kernels (default: one for all calls)")
    parser.add_argument(
        "--training", default="", help='further options of bench sweep, as one argument: --training="--batch 8"'
    )
    parser.add_argument(
        "--margin", type=float, default=25.0, help="seconds before the end at which runs are interrupted (25)"
    )
    parser.add_argument("--program", type=shlex.split, default=PROGRAM, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    asked.tasks, asked.tables = tasks_in(asked.tasks), tables_in(asked.tables)
    return asked


def main() -> NoReturn:
    asked = parsed()
    if asked.device == "cuda" and not has_gpu():
        refuse("no CUDA device here; --device cpu trains on the CPU, for weeks at the papers' width")
    asked.folder, asked.out = make_folder(asked.folder), make_folder(asked.out) if asked.out else None
    grid = TaskGrid(asked)
    sys.exit(run(grid, partial(train_all, grid)))


if __name__ == "__main__":
    main()
