"""`mnistref` in a process of its own, with small shards, to be killed, starved and interrupted."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mnistref.common.atomic_files import PARTIAL

TOP = Path(__file__).parents[2]
HANG = 120
"""Seconds after which a process counts as one that hangs."""
SIZES = ("--train", "29", "--val", "8", "--test", "8")
FEW = ("--train", "9", "--val", "3", "--test", "3")
DRIVER = """
import signal, sys
from mnistref.common.sigint import die_quietly
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
    die_quietly()
import mnistref.generation.executors, mnistref.storage.manifest
if __name__ == "__main__":
    mnistref.storage.manifest.SHARD_IMAGES = 8
    mnistref.generation.executors.COMPILED = sys.argv.pop(1) == "threads"
    from cli import mnistref
    mnistref()
"""
"""Shards of 8 images, made by threads or by processes."""


def start(arguments: list[str], workers: str = "threads", limit: Callable[[], None] | None = None) -> subprocess.Popen:
    """Begin `mnistref …`, the leader of its own group."""
    return start_python(DRIVER, [workers, *arguments], limit)


def start_python(code: str, arguments: list[str], limit: Callable[[], None] | None = None) -> subprocess.Popen:
    """Begin a program that sees ours."""
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
    """(exit code, stdout, stderr). A process that hangs is killed, and the test fails."""
    try:
        out, errors = running.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    return running.returncode, out, errors


def run(arguments: list[str], **how) -> tuple[int, str, str]:
    return finish(start(arguments, **how))


def children(pid: int, called: bytes = b"child_process") -> list[int]:
    """The worker processes of a parent: those that have `called` in their command."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            own = int(stat.read_text().rpartition(")")[2].split()[1]) == pid
            if own and called in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(f"{PARTIAL}*"))


def is_one_line(errors: str) -> bool:
    """An error as the programs report it: the last line, and no traceback."""
    lines = errors.strip().splitlines()
    return bool(lines) and lines[-1].startswith("error: ") and "Traceback" not in errors
