"""Whether something compiled works on this machine, tried once."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def works(what: str, attempt: Callable[[], str]) -> bool:
    """Return whether `attempt` finds no problem with the compiled `what`; if it does, one warning says which.

    Args:
        what: its name, for the warning.
        attempt: returns what is wrong, or an empty string; an error in it is a problem too.
    """
    # In a thread of its own, where no mode of the caller's (inference, autocast, no gradients) is on.
    with ThreadPoolExecutor(1) as aside:
        problem = aside.submit(_problem, attempt).result()
    if problem:
        warnings.warn(
            f"the compiled {what} does not work here ({problem}): plain operators take over, and take longer",
            RuntimeWarning,
            stacklevel=4,
        )
    return not problem


def _problem(attempt: Callable[[], str]) -> str:
    try:
        return attempt()
    except Exception as error:  # whatever it is, there are the plain operators
        return f"{type(error).__name__}: {error}"
