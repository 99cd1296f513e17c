"""Whole numbers among the arguments of the Python API."""

import operator
from typing import SupportsIndex

from mnistref.common.errors import UsageProblemError


def whole_number(name: str, value: object) -> int:
    """Return a whole number of any type, such as NumPy's, as an int.

    Args:
        name: name of the argument, for the message.
        value: the argument.

    Raises:
        UsageProblemError: the value is something else, such as a float or a bool.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        return operator.index(value)
    raise UsageProblemError(f"{name} {value!r}: give a whole number")
