"""`@compiled`: numba's njit with a cache on disk and without the GIL. Without numba, functions stay plain Python.

Plain Python is far too slow for pixels, and its integers do not wrap at 64 bits. Callers check `COMPILED` and use the
NumPy reference instead, which gives the same bytes.

numba considers a cached function current while its own file is unchanged, and ignores the functions that it calls.
Therefore the name of the cache folder contains the digest of all sources: any change compiles everything again.
"""

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

try:
    import numba

    COMPILED = True
except ImportError:
    COMPILED = False
else:
    from mnistref.common.numba_cache import CompileCache

PACKAGE = Path(__file__).parents[1]
RENDERING = PACKAGE / "rendering"
SOURCES = (
    *(PACKAGE / "common" / name for name in ("errors.py", "numba_jit.py", "numba_cache.py")),
    *(RENDERING / name for name in ("render.py", "resize.py", "rng.py", "scene.py")),
    PACKAGE / "scales.py",
    PACKAGE / "spec.py",
    PACKAGE / "spec_records.py",
    PACKAGE / "storage" / "schema.py",
)
"""All files of this package that compiled code may depend on: the compiled modules and their imports."""


def compiler(home: Path, *sources: Path) -> Callable[..., Any]:
    """Return a decorator that compiles functions with numba and caches the result.

    Use it as `@decorator`, or with options of numba's njit as `@decorator(…)`. Functions are compiled at the first
    call. If no cache folder is writable, they are compiled at each start.

    Args:
        home: folder of the compiled modules, which also holds a cache.
        sources: all files that the compiled functions depend on.
    """

    def decorate(function: F | None = None, **options: Any) -> Any:
        if function is None:
            return lambda f: decorate(f, **options)
        if not COMPILED:
            return function
        dispatcher: Any = numba.njit(function, nogil=True, **options)
        dispatcher._cache = CompileCache(function, cache_folders(home, sources))
        return dispatcher

    return decorate


@lru_cache
def cache_folders(home: Path, sources: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the cache folders, in order of preference: in NUMBA_CACHE_DIR, in `home`, and in the user's cache."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    of_the_user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parents = (*([Path(chosen)] if chosen else []), home / "__pycache__", Path(of_the_user, "mnistref"))
    return tuple(parent / digest.hexdigest()[:16] for parent in parents if "~" not in parent.parts)


compiled = compiler(RENDERING, *SOURCES)
