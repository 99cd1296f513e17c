"""End a process that runs user code without waiting for the threads that user code left running."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def end_now(leave: Callable[[int], NoReturn] = os._exit) -> None:
    """End this process without waiting for other threads. Return if there are none that Python would wait for.

    Exit handlers run and streams are flushed. The exit code is that of the SystemExit being handled, 1 for another
    exception, which is printed, and 0 without one.

    Args:
        leave: os._exit, which the caller may have replaced.
    """
    if not any(thread.is_alive() and not thread.daemon for thread in _others()):
        return
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # user code may have closed or replaced it
            stream.flush()
    leave(_code_of(error))


def _others() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread is not threading.current_thread()]


def _code_of(error: BaseException | None) -> int:
    """Return the exit code that Python gives a process that ends with this exception."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return int(error is not None)
