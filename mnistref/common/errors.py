"""What can go wrong in a way that is not a bug, and the exit code each ends a command with.

Every message is one line: what happened, which file or value, what to do.
"""


class ProblemError(Exception):
    """Base of every foreseen error. `exit_code` is what the command ends with."""

    exit_code = 1


class UsageProblemError(ProblemError):
    """What was asked for makes no sense or does not exist."""

    exit_code = 2


class DataProblemError(ProblemError):
    """A file is missing, corrupt, or not what it says it is."""

    exit_code = 3


class MismatchProblemError(ProblemError):
    """What is to be resumed differs from what was asked for."""

    exit_code = 4


class RunProblemError(ProblemError):
    """A training failed or diverged."""

    exit_code = 6


def did_you_mean(name: str, known: list[str]) -> str:
    """A hint that ends an "unknown name" message: the nearest names, then all of them."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known)}"
