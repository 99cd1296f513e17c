"""Interrupts inside and outside of `interruptible`."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from mnistref.common.interrupts import Interrupted, interruptible


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_first_interrupt_is_recorded_and_the_handler_restored():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    received: list[int] = []
    with pytest.raises(Interrupted), interruptible(received):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    assert received == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interruptible_keeps_ignored_interrupts_and_other_threads_unchanged():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible([]):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = []

    def enter() -> None:
        with interruptible([]):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
