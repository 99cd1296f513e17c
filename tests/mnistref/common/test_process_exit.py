"""The end of a process while a thread of user code still runs."""

import subprocess
import sys

import pytest

from tests.helpers import TOP

PROGRAM = """
import atexit, sys, threading, time
from mnistref.common.process_exit import end_now

end_now()
print("no other threads")
threading.Thread(target=time.sleep, args=(60,), daemon={daemon}).start()
atexit.register(print, "exit handler")
try:
    {raised}
finally:
    end_now()
    print("end_now returned")
"""


def end(raised: str, daemon: bool = False) -> subprocess.CompletedProcess:
    """Run a program whose thread sleeps for a minute while it ends."""
    code = PROGRAM.format(raised=raised, daemon=daemon)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('a text')", 1, ""),
        ("raise ValueError('a bug')", 1, "ValueError: a bug\n"),
    ],
)
def test_exit_code_is_kept_and_running_threads_are_not_waited_for(raised, code, message):
    done = end(raised)
    assert (done.returncode, done.stdout) == (code, "no other threads\nexit handler\n")
    assert done.stderr.endswith(message)
    assert bool(done.stderr) == bool(message)


def test_daemon_threads_need_no_early_end():
    done = end("pass", daemon=True)
    assert (done.returncode, done.stdout) == (0, "no other threads\nend_now returned\nexit handler\n")
