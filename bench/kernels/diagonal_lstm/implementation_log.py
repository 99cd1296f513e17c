"""A log of the diagonal LSTM implementations that run; the error raised if the requested one cannot run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


class ImplementationError(ValueError):
    """The requested implementation does not exist, or cannot run here."""


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
    """Add the name of an implementation that runs to all open logs."""
    if _LISTENING and not torch.compiler.is_compiling():
        for ran in _LISTENING:
            ran.add(name)


def spelled(ran: Iterable[str]) -> str | None:
    """Return the names as stored in records, such as "packed, triton"; None if there are none."""
    return ", ".join(sorted(ran)) or None
