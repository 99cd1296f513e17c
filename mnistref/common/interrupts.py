"""Ctrl-C, from the first line of a program to its last: a silent death or one line of error, never a traceback."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(BaseException):
    """Ctrl-C came. Not a KeyboardInterrupt, at which click prints a line of its own."""


@contextmanager
def interruptible(came: list[int]) -> Iterator[None]:
    """Let Ctrl-C raise `Interrupted` in the block, once: who presses it again waits for nothing.

    `came` is no longer empty then: code that is interrupted while it is imported may raise what it likes
    instead. Where Ctrl-C is ignored, or somebody else's, it stays so.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()
    if not ours or before not in (signal.default_int_handler, signal.SIG_DFL):
        yield
        return

    def interrupt(number: int, _: Any) -> None:
        came.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise Interrupted

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
