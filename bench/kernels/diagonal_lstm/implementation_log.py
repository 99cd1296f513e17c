"""A log of the diagonal LSTM implementations that run; the error raised if the requested one cannot run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


class ImplementationError(ValueError):
    """The requested implementation does not exist, or cannot run here."""


_OPEN_LOGS: list[set[str]] = []


@contextmanager
def record_implementations(ran: set[str]) -> Iterator[None]:
    """Add to `ran` the name of every implementation that runs meanwhile, in any thread. Self-tests do not count.

    Replays of CUDA graphs are not recorded, because the graph was recorded when it was captured; compiled functions are
    not recorded either.
    """
    _OPEN_LOGS.append(ran)
    try:
        yield
    finally:
        del _OPEN_LOGS[next(k for k, one in enumerate(_OPEN_LOGS) if one is ran)]


def record_implementation(name: str) -> None:
    """Add the name of an implementation that runs to all open logs."""
    if _OPEN_LOGS and not torch.compiler.is_compiling():
        for ran in _OPEN_LOGS:
            ran.add(name)


def join_names(ran: Iterable[str]) -> str | None:
    """Return the names as stored in records, such as "packed, triton"; None if there are none."""
    return ", ".join(sorted(ran)) or None
