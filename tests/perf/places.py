"""Folders that the GPU scripts use, and types of their arguments."""

import argparse
import math
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mnistref.common.atomic_files import PARTIAL

TOP = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")
KERNELS, NUMBA = "triton", "numba"
"""Folders of compiled code, below the folder of --kept."""
SESSION = "session.json"
LARGEST = 16_000_000
"""Maximum size of a result file in bytes."""
ROOM = 2_000_000_000
"""Free bytes that the folder in memory must have; otherwise the temporary folder is used."""


def positive_seconds(text: str) -> float:
    """Parse a positive, finite number of seconds, for argparse."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a type for argparse: integers that are at least `minimum`."""

    def integer(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text} is less than {minimum}")
        return value

    return integer


def refuse(problem: str) -> NoReturn:
    """Print the problem to stderr, and exit with code 2."""
    print(problem, file=sys.stderr)
    sys.exit(2)


def make_folder(folder: Path) -> Path:
    """Make a folder, and return its absolute path. Exit with code 2 and one line if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"{folder}: cannot be made a folder: {error.strerror}")
    return folder.absolute()


def digits_folder(text: str) -> str:
    """Return the absolute path of --digits, a folder of the MNIST files. Exit with code 2 if it does not exist."""
    if not Path(text).is_dir():
        refuse(f"--digits {text}: no folder here")
    return str(Path(text).absolute())


def fast_folder() -> Path:
    """Return the folder in memory if it has enough free space, else the temporary folder."""
    try:
        if os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
            return MEMORY
    except OSError:
        pass
    return Path(tempfile.gettempdir())


def fresh_folder() -> Path:
    """Make a new folder with the process id in its name, and return it."""
    return Path(tempfile.mkdtemp(prefix=f"bench-session-{os.getpid()}-", dir=fast_folder()))


def kept_folder(wanted: Path | None) -> Path:
    """Make the folder in which the scripts share compiled kernels and measurements, and return it.

    The default is a fixed folder for each user. A folder that other users can write to is not used, because its code is
    executed; a new folder replaces it.
    """
    if wanted:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted.absolute()
    folder = fast_folder() / f"bench-gpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
        return fresh_folder()
    return folder


def caches_in(folder: Path) -> dict[str, str]:
    """Return the environment variables for compiled code below this folder."""
    return {"TRITON_CACHE_DIR": str(folder / KERNELS), "NUMBA_CACHE_DIR": str(folder / NUMBA)}


def remove_partial(out: Path) -> None:
    """Remove partial files that a killed call left in its folder of results."""
    for path in out.glob(f"{PARTIAL}*"):
        path.unlink(missing_ok=True)


def driver_has_gpu() -> bool:
    """Return whether `nvidia-smi` lists a GPU, which is faster than a query by PyTorch."""
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def without_commit() -> str:
    """Return a warning if records cannot name the commit of the code, else an empty string."""
    if (TOP / ".git").exists() or os.environ.get("BENCH_COMMIT"):
        return ""
    return f"{TOP} is not a Git checkout, so records will name no commit; set BENCH_COMMIT"
