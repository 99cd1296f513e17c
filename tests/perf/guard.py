"""Let no process of a session outlive it: a part has a group of its own, which ends as a whole."""

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
    """Start a part, with a pipe that ends when this process ends, however that happens."""
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
    """End a part with all processes that it started. It must not have been waited for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait(process: subprocess.Popen[str]) -> int:
    """Wait for a part, and end what it started and left. Return its exit code."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its number stays its own until it is waited for
    kill(process)
    return process.wait()


def end_with_the_session() -> None:
    """In a part: end its whole group as soon as the session has ended. Does nothing where no session started it."""
    if os.environ.get(VARIABLE) == "1":
        threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)
