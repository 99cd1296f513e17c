"""Collection of the warnings of bench and mnistref in a worker process, whose output is not shown."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

OWN_PACKAGES = ("bench", "mnistref")
MAX_CHARACTERS = 500
"""Maximal length of a line. Longer lines are truncated."""


class _Collector(logging.Handler):
    """Appends the messages of log records to a list, each text once."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Append the message of a log record."""
        try:
            self.add(record.getMessage())
        except Exception:
            self.handleError(record)

    def add(self, text: str) -> None:
        """Append a text as one line."""
        line = " ".join(text.split())
        line = line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"
        if line not in self._lines:
            self._lines.append(line)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Inside this context, collect warnings of our own modules: log records and Python warnings, one line each.

    Warnings are also shown as before. At the end, the warning filters and log handlers are restored.
    """
    lines: list[str] = []
    collector = _Collector(lines)
    loggers = [logging.getLogger(name) for name in OWN_PACKAGES]
    with warnings.catch_warnings():
        show = warnings.showwarning

        def collect(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if _is_own_warning():
                collector.add(str(message))
            show(message, category, filename, lineno, file, line)

        warnings.showwarning = collect
        for logger in loggers:
            logger.addHandler(collector)
        try:
            yield lines
        finally:
            for logger in loggers:
                logger.removeHandler(collector)


def _is_own_warning() -> bool:
    """Return whether one of our own functions called `warnings.warn`. Call this from `warnings.showwarning`.

    The file name and line of the warning may be those of a caller, so the stack is inspected. A warning of compiled
    code, such as PyTorch's, seems to come from the function of ours that called it, but that function does not use the
    name `warn`.
    """
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__") == "warnings":
        frame = frame.f_back
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    return package in OWN_PACKAGES and "warn" in frame.f_code.co_names
