"""Which implementations of the diagonal LSTM run, and the error where one that was asked for cannot."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


class ImplementationError(ValueError):
    """The implementation that was asked for by name does not exist, or cannot run here."""


_LISTENING: list[set[str]] = []


@contextmanager
def noted(ran: set[str]) -> Iterator[None]:
    """Add to `ran` the name of every implementation that runs meanwhile, in any thread. Self-tests do not count.

    A graph that is replayed is not seen; what it replays ran when it was recorded. Nor is a compiled function.
    """
    _LISTENING.append(ran)
    try:
        yield
    finally:
        del _LISTENING[next(k for k, one in enumerate(_LISTENING) if one is ran)]


def note(name: str) -> None:
    """Tell whoever listens that an implementation runs."""
    if _LISTENING and not torch.compiler.is_compiling():
        for ran in _LISTENING:
            ran.add(name)


def spelled(ran: Iterable[str]) -> str | None:
    """Return the names as records have them, such as "packed, triton"; None where there are none."""
    return ", ".join(sorted(ran)) or None
