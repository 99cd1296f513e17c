"""Foreseen errors, and the exit codes of the commands.

A message is one line: what is wrong, which file or value, what to do.
"""

from collections.abc import Sequence

EXIT_BUG = 1
"""Exit code after an unforeseen error."""
EXIT_IO = 5
"""Exit code after an OSError: a full disk, missing permissions, or another failed system call."""
EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as in a shell."""


class ProblemError(Exception):
    """Base of every foreseen error. `exit_code` is the exit code of the command."""

    exit_code = EXIT_BUG


class UsageProblemError(ProblemError):
    """The request is invalid, or names something that does not exist."""

    exit_code = 2


class DataProblemError(ProblemError):
    """A file is missing, damaged, or has the wrong content."""

    exit_code = 3


class MismatchProblemError(ProblemError):
    """The result to resume differs from the request."""

    exit_code = 4


class RunProblemError(ProblemError):
    """A training run or a worker process failed."""

    exit_code = 6


class RemoteTracebackError(Exception):
    """The traceback of an error that was raised in another process, as text. It is the cause of the error here."""

    def __str__(self) -> str:
        """Return the traceback, which begins on a line of its own."""
        return f"\n{super().__str__()}"


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that is most similar, whatever the case of its letters; None if none is similar."""
    from difflib import get_close_matches

    spelled = {each.lower(): each for each in reversed(known)}
    near = get_close_matches(name.lower(), spelled, n=1, cutoff=0.65)
    return spelled[near[0]] if near else None


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return the end of an "unknown name" message: the nearest name, then all known names."""
    near = nearest_name(name, known)
    hint = f"did you mean {near!r}? " if near else ""
    return f"{hint}known: {', '.join(known)}"
