"""Foreseen errors, and the exit codes of the commands.

A message is one line: what is wrong, which file or value, what to do.
"""

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


def did_you_mean(name: str, known: list[str]) -> str:
    """Return the end of an "unknown name" message: the nearest name, then all known names."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known)}"
