"""`@compiled`: numba's njit, cached on disk, without the GIL. Where numba is missing, functions stay plain Python.

Plain Python is far too slow for pixels (and its integers do not wrap at 64 bits): `COMPILED` tells the caller to take
the NumPy reference, which gives the same bytes.

numba takes a cached function for current while the file of that function is unchanged, and does not look at those it
calls. So the cache lies in a folder named by the digest of all `SOURCES`: a change to one of them compiles all anew.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable)

try:
    import numba

    COMPILED = True
except ImportError:
    COMPILED = False

HERE = Path(__file__).parent
SOURCES = ("compiled", "render", "resize", "rng", "scene", "spec")
"""Everything that compiled code may depend on: the compiled modules and what they import."""


def compiled(function: F) -> F:
    """Compile at first call. Where nothing can be cached, that costs the compile time at each start, no more."""
    if not COMPILED:
        return function
    folder = cache_folder()
    if folder is None:
        return cast(F, numba.njit(function, nogil=True))
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return cast(F, numba.njit(function, cache=True, nogil=True))
    finally:
        config.CACHE_DIR = before


@lru_cache
def cache_folder() -> Path | None:
    """Where compiled code is kept: the first folder that can be written of NUMBA_CACHE_DIR, here, and at home."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((HERE / f"{name}.py").read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    at_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnistref"
    for parent in (*([Path(chosen)] if chosen else []), HERE / "__pycache__", at_home):
        folder = parent / digest.hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None
