"""End every process of a session with the session: each part has its own process group."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tests.perf.places import TOP

VARIABLE = "SESSION_GUARDS"


def start(command: list[str], environment: Mapping[str, str], log: Any) -> subprocess.Popen[str]:
    """Start a part, with a pipe on stdin that closes when this process ends for any reason."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        cwd=TOP,
        env={**environment, VARIABLE: "1"},
        stdin=pipe,
        stdout=pipe,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a part and all processes that it started. Call this before `wait`."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait(process: subprocess.Popen[str]) -> int:
    """Wait for a part, kill the processes that it left running, and return its exit code."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # WNOWAIT: the process id is not reused before the kill
    kill(process)
    return process.wait()


def end_with_the_session() -> None:
    """Kill the process group of this part when its session ends. Do nothing outside a session."""
    if os.environ.get(VARIABLE) == "1":
        threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)
