"""The options of the grid of runs, see `tests.perf.grid`."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from bench.attention import canonical_names
from mnistref.common.errors import UsageProblemError
from tests.perf.grid_plan import MAIN
from tests.perf.places import TOP, at_least, digits_folder, positive_seconds, refuse

PROGRAM = [sys.executable, str(TOP / "cli.py")]
PROBER = [sys.executable, "-m", "tests.perf.grid_probe"]


def questions(text: str) -> int | str:
    """Parse a number of questions or "all", for argparse."""
    return text if text == "all" else at_least(1)(text)


def parsed(about: str | None, arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the checked options. Exit with code 2 and one line if a value is wrong."""
    parser = argparse.ArgumentParser(
        "bench/scripts/grid.sh", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of data and runs")
    parser.add_argument("photos", metavar="PHOTOS", help="folder of photographs, or builtin")
    parser.add_argument(
        "seconds", type=positive_seconds, nargs="?", default=540.0, metavar="SECONDS", help="time limit (540)"
    )
    parser.add_argument("--out", type=Path, help="folder of the packed records")
    parser.add_argument("--digits", help="folder of the MNIST files, or mnist5k")
    parser.add_argument("--seeds", type=at_least(1), default=5, help="number of seeds: 0, 1, … (5)")
    parser.add_argument("--workers", type=at_least(1), help="runs at the same time (3; on the CPU one per core)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="device of the runs (cuda)")
    parser.add_argument("--batch", type=at_least(2), default=32, help="images per step (32)")
    parser.add_argument("--questions", type=questions, help="questions per image, or all (5; on the CPU all)")
    parser.add_argument(
        "--epochs",
        type=at_least(1),
        help="epochs (default: as many as fit into SECONDS; on the CPU those of the recipe)",
    )
    parser.add_argument("--most-epochs", type=at_least(1), default=30, help="upper limit of the epochs that fit (30)")
    parser.add_argument(
        "--session", type=Path, help="session.json of tests/perf/gpu_session.sh (default: that of --kept)"
    )
    parser.add_argument("--caches", type=Path, help="caches.tar.xz of tests/perf/gpu_session.sh")
    parser.add_argument("--kept", type=Path, help="folder of compiled kernels (default: one for all calls)")
    parser.add_argument(
        "--training", default="", help='further options of bench sweep, as one argument: --training="--batch 8"'
    )
    parser.add_argument(
        "--sizes",
        nargs=3,
        type=at_least(1),
        default=[30_000, 10_000, 10_000],
        metavar=("TRAIN", "VAL", "TEST"),
        help="images of each split (30000 10000 10000)",
    )
    parser.add_argument("--main", default=",".join(MAIN), help="mechanisms that are trained first")
    parser.add_argument("--stages", type=at_least(1), help="number of first stages (default: all)")
    parser.add_argument(
        "--margin", type=float, default=25.0, help="seconds before the end at which runs are interrupted (25)"
    )
    parser.add_argument("--forecast", action="store_true", help="print the runs that are left and their hours, and end")
    parser.add_argument("--probe", default="mref", help=argparse.SUPPRESS)
    for option, default in (("--program", PROGRAM), ("--prober", PROBER)):
        parser.add_argument(option, type=shlex.split, default=default, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    on_gpu = asked.device == "cuda"
    asked.workers = asked.workers or (3 if on_gpu else os.cpu_count() or 1)
    asked.questions = asked.questions or (5 if on_gpu else "all")
    if asked.photos != "builtin":
        if not Path(asked.photos).is_dir():
            refuse(f"{asked.photos}: no folder of photographs here")
        asked.photos = str(Path(asked.photos).absolute())
    if asked.digits and asked.digits != "mnist5k":
        asked.digits = digits_folder(asked.digits)
    if asked.session and not asked.session.is_file():
        parser.exit(2, f"--session {asked.session}: no file here\n")
    try:
        canonical_names(asked.main)
    except UsageProblemError as error:
        refuse(f"--main: {error}")
    return asked
