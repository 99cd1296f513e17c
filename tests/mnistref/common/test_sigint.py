"""The handler of Ctrl-C that the programs set first."""

import signal
from collections.abc import Iterator

import pytest

from mnistref.common.sigint import exit_silently_on_sigint


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (signal.default_int_handler, signal.SIG_DFL),
        (signal.SIG_IGN, signal.SIG_IGN),
        (signal.SIG_DFL, signal.SIG_DFL),
    ],
    ids=["traceback", "ignored", "silent"],
)
def test_only_the_handler_that_prints_a_traceback_is_replaced(before, after):
    signal.signal(signal.SIGINT, before)
    exit_silently_on_sigint()
    assert signal.getsignal(signal.SIGINT) is after


def test_a_handler_of_the_user_stays():
    def own(*_) -> None: ...

    signal.signal(signal.SIGINT, own)
    exit_silently_on_sigint()
    assert signal.getsignal(signal.SIGINT) is own
