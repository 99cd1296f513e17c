"""Ctrl-C during a command: one line of error instead of a traceback."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """Ctrl-C was pressed. This is not a KeyboardInterrupt, for which click prints an additional line."""


@contextmanager
def interruptible(received: list[int]) -> Iterator[None]:
    """Let the first Ctrl-C raise `Interrupted` in the block, and the second one end the process at once.

    Nothing changes if Ctrl-C is ignored or has another handler, or outside the main thread.

    Args:
        received: receives the signal number. Check it rather than the exception, because code that is interrupted
            during its import may raise another exception.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()
    if not ours or before not in (signal.default_int_handler, signal.SIG_DFL):
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise Interrupted

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
