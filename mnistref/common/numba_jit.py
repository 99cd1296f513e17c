"""`@compiled`: numba's njit, cached on disk, without the GIL. Where numba is missing, functions stay plain Python.

Plain Python is far too slow for pixels (and its integers do not wrap at 64 bits): `COMPILED` tells the caller to take
the NumPy reference, which gives the same bytes.

numba takes a cached function for current while the file of that function is unchanged, and does not look at those it
calls. So the cache lies in a folder named by the digest of all sources: a change to one of them compiles all anew.
"""

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable)

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
    *(PACKAGE / "common" / name for name in ("numba_jit.py", "numba_cache.py")),
    *(RENDERING / name for name in ("render.py", "resize.py", "rng.py", "scene.py")),
    PACKAGE / "spec.py",
)
"""Everything of this package that compiled code may depend on: the compiled modules and what they import."""


def compiler(home: Path, *sources: Path) -> Callable[..., Any]:
    """The decorator for compiled functions that depend on `sources` and no other file, cached at `home`.

    It compiles at first call. Where nothing can be cached, that costs the compile time at each start, no more.
    `@decorator` or, with options of numba's njit, `@decorator(…)`.
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
    """Where compiled code may be kept, the best place first: in NUMBA_CACHE_DIR, at `home`, and at the user's."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    of_the_user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parents = (*([Path(chosen)] if chosen else []), home / "__pycache__", Path(of_the_user, "mnistref"))
    return tuple(parent / digest.hexdigest()[:16] for parent in parents if "~" not in parent.parts)


compiled = compiler(RENDERING, *SOURCES)
