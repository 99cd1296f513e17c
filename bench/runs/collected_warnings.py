"""Collects what bench and mnistref warn of in a process whose output nobody sees."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OURS = ("bench", "mnistref")
LONGEST = 500
"""Characters of a line; what follows is cut off."""


class _Collector(logging.Handler):
    """Puts the messages of log records into a list, each once."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.add(record.getMessage())
        except Exception:
            self.handleError(record)

    def add(self, text: str) -> None:
        line = " ".join(text.split())
        line = line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
        if line not in self._lines:
            self._lines.append(line)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collect warnings of our own modules while the block lasts: log records and Python warnings, a line each.

    Other warnings go where they went before. Warning filters and log handlers are restored at the end.
    """
    lines: list[str] = []
    collector = _Collector(lines)
    loggers = [logging.getLogger(name) for name in OURS]
    with warnings.catch_warnings():
        show = warnings.showwarning

        def collect(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if _is_ours():
                collector.add(str(message))
            show(message, category, *place)

        warnings.showwarning = collect  # type: ignore[assignment]
        for logger in loggers:
            logger.addHandler(collector)
        try:
            yield lines
        finally:
            for logger in loggers:
                logger.removeHandler(collector)


def _is_ours() -> bool:
    """Return whether a function of ours has called `warnings.warn`. To be called by what shows the warning.

    The place of the warning does not tell: it names a caller's line. Warnings of compiled code, such as PyTorch's,
    appear to come from the function of ours that called it; but that function does not name `warn`.
    """
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__") == "warnings":
        frame = frame.f_back
    top = str(frame.f_globals.get("__name__")).partition(".")[0]
    return top in OURS and "warn" in frame.f_code.co_names
