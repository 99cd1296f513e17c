"""Run `mnistref` with small shards in a new process, for tests that kill, interrupt or limit it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mnistref.common.atomic_files import PARTIAL

TOP = Path(__file__).parents[2]
HANG_SECONDS = 120
"""Seconds after which a process counts as hanging."""
SIZES = ("--train", "29", "--val", "8", "--test", "8")
FEW = ("--train", "9", "--val", "3", "--test", "3")
DRIVER = """
import signal, sys
from mnistref.common.sigint import exit_silently_on_sigint
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
    exit_silently_on_sigint()
import mnistref.generation.executors, mnistref.storage.manifest
if __name__ == "__main__":
    mnistref.storage.manifest.SHARD_IMAGES = 8
    mnistref.generation.executors.COMPILED = sys.argv.pop(1) == "threads"
    from cli import mnistref
    mnistref()
"""
"""Program that generates shards of 8 images with threads or with processes."""


def start(arguments: list[str], workers: str = "threads", limit: Callable[[], None] | None = None) -> subprocess.Popen:
    """Start `mnistref …` in its own process group."""
    return start_python(DRIVER, [workers, *arguments], limit)


def start_python(code: str, arguments: list[str], limit: Callable[[], None] | None = None) -> subprocess.Popen:
    """Start a program that can import this checkout."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=limit,
    )


def finish(running: subprocess.Popen) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr. A hanging process is killed, and the test fails."""
    try:
        out, errors = running.communicate(timeout=HANG_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    return running.returncode, out, errors


def run(arguments: list[str], **how) -> tuple[int, str, str]:
    return finish(start(arguments, **how))


def children(pid: int, called: bytes = b"child_process") -> list[int]:
    """Return the worker processes of a parent: those whose command contains `called`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            own = int(stat.read_text().rpartition(")")[2].split()[1]) == pid
            if own and called in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except OSError:  # the process has exited meanwhile
            continue
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(f"{PARTIAL}*"))


def is_one_line(errors: str) -> bool:
    """Return whether the last line is an error of the programs and there is no traceback."""
    lines = errors.strip().splitlines()
    return bool(lines) and lines[-1].startswith("error: ") and "Traceback" not in errors
