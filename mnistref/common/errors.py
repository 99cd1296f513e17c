"""Foreseen errors, and the exit codes of the commands.

A message is one line: what is wrong, which file or value, what to do.
"""

import traceback
from collections.abc import Sequence

MAX_NEAR_NAMES = 3
"""Maximal number of similar names in an "unknown name" message."""
EXIT_BUG = 1
"""Exit code after an unforeseen error."""
EXIT_IO = 5
"""Exit code after an OSError: a full disk, missing permissions, or another failed system call."""
EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as in a shell."""


class ForeseenError(Exception):
    """An error whose message says what happened. If another error caused it, its own traceback adds nothing."""


class ProblemError(ForeseenError):
    """Base of the foreseen errors that end a command. `exit_code` is the exit code of the command."""

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


class SummaryProblemError(RunProblemError):
    """Runs or checks failed, whose errors are reported already, so that a traceback of this error adds nothing."""


class RemoteTracebackError(Exception):
    """The traceback of an error that was raised in another process, as text. It is the cause of the error here."""

    def __str__(self) -> str:
        """Return the traceback, which begins on a line of its own."""
        return f"\n{super().__str__()}"


NO_SUCH_FOLDER = "there is no such folder; check the path, or give one that exists"
"""The end of the message about a folder that does not exist, in every command and function."""


def format_traceback(error: BaseException) -> str:
    """Return the traceback of an error as text.

    For a foreseen error with a cause, this is the traceback of the cause only, for example that of the user's code in a
    child process. Errors of user code are shown with the errors that caused them.
    """
    while isinstance(error, ForeseenError) and error.__cause__ is not None:
        error = error.__cause__
    text = str(error) if isinstance(error, RemoteTracebackError) else "".join(traceback.format_exception(error))
    return text.strip()


def near_names(name: str, known: Sequence[str]) -> list[str]:
    """Return the known names that are similar, whatever the case of their letters; the most similar one is first.

    A name that differs only in the case of its letters is the only one. Names with two neighbouring letters swapped are
    first, because difflib does not know swaps.
    """
    from difflib import get_close_matches

    spelled, lower = {each.lower(): each for each in reversed(known)}, name.lower()
    if lower in spelled:
        return [spelled[lower]]
    pairs = range(len(lower) - 1)
    swapped = [lower[:k] + lower[k + 1] + lower[k] + lower[k + 2 :] for k in pairs]
    near = [each for each in swapped if each in spelled]
    near += get_close_matches(lower, spelled, n=MAX_NEAR_NAMES, cutoff=0.65)
    return [spelled[each] for each in dict.fromkeys(near)][:MAX_NEAR_NAMES]


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """Return the first of `near_names`; None if there is none."""
    return next(iter(near_names(name, known)), None)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return the end of an "unknown name" message: similar names, then all known names."""
    near = " or ".join(map(repr, near_names(name, known)))
    hint = f"did you mean {near}? " if near else ""
    return f"{hint}known: {', '.join(known)}"
