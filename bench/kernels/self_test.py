"""Self-tests of compiled code on this machine."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def works(label: str, attempt: Callable[[], str]) -> bool:
    """Return whether the self-test `attempt` finds no problem; if it finds one, emit one warning.

    Args:
        label: name of the compiled code, for the warning.
        attempt: returns the problem, or an empty string. An exception counts as a problem.
    """
    # Run in another thread, where no mode of the caller (inference, autocast, no gradients) is active.
    with ThreadPoolExecutor(1) as executor:
        problem = executor.submit(_problem, attempt).result()
    if problem:
        warnings.warn(
            f"the compiled {label} does not work here ({problem}): slower plain operators are used",
            RuntimeWarning,
            stacklevel=4,
        )
    return not problem


def _problem(attempt: Callable[[], str]) -> str:
    try:
        return attempt()
    except Exception as error:  # for any error, the plain operators remain usable
        return f"{type(error).__name__}: {error}"
