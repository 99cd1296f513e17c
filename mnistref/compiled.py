"""`@compiled`: numba's njit, cached on disk, without the GIL. Where numba is missing, functions stay plain Python.

Plain Python is far too slow for pixels (and its integers do not wrap at 64 bits): `COMPILED` tells the caller to take
the NumPy reference, which gives the same bytes.
"""

from collections.abc import Callable
from typing import TypeVar, cast

F = TypeVar("F", bound=Callable)

try:
    import numba

    COMPILED = True
except ImportError:
    COMPILED = False


def compiled(function: F) -> F:
    """Compile at first call. A folder where nothing can be cached costs the compile time, no more."""
    if not COMPILED:
        return function
    try:
        return cast(F, numba.njit(function, cache=True, nogil=True))
    except RuntimeError:  # no folder for the cache can be written
        return cast(F, numba.njit(function, nogil=True))
