"""A cache of compiled code on disk: read from the first folder that has it, written to the first that is writable.

Cache errors cost time, but never fail a command. numba's own cache raises errors of damaged files, full disks and
read-only folders, and would run machine code with a flipped bit.
"""

import hashlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from numba.core import caching

log = logging.getLogger("mnistref")


class CompileCache(caching._Cache):
    """The cache of one compiled function, with the interface that numba expects."""

    def __init__(self, function: Callable[..., object], folders: Sequence[Path]) -> None:
        self._folders: list[Any] = [_Folder(function, folder) for folder in folders]

    @property
    def cache_path(self) -> str | None:
        """The first folder of the cache."""
        return str(self._folders[0].cache_path) if self._folders else None

    def load_overload(self, sig: object, target_context: object) -> object:
        """Return the compiled code for a signature from the first folder that has it, or None."""
        for folder in self._folders:
            with suppress(Exception):
                found = folder.load_overload(sig, target_context)
                if found is not None:
                    return found
        _log_once("compiling for this machine, which takes up to 30 s …")
        return None

    def save_overload(self, sig: object, data: object) -> None:
        """Save compiled code in the first folder that is writable."""
        for folder in self._folders:
            with suppress(Exception):
                folder.save_overload(sig, data)
                return
        _log_once("compiled code cannot be saved, so each start takes this long; set NUMBA_CACHE_DIR")

    def enable(self) -> None:
        """Do nothing; numba calls this method."""

    def disable(self) -> None:
        """Do nothing; numba calls this method."""

    def flush(self) -> None:
        """Delete the compiled code of this function."""
        for folder in self._folders:
            with suppress(Exception):
                folder.flush()


@lru_cache
def _log_once(line: str) -> None:
    """Log a line once per process, however many functions it applies to."""
    log.info("%s", line)


class _Folder(caching.FunctionCache):
    """The compiled code of one function in one folder, which is created when it is first written."""

    _impl_class: Any

    def __init__(self, function: Callable[..., object], folder: Path) -> None:
        self._impl_class = partial(_Code, folder=folder)
        base: Any = super()  # numba has no type hints
        base.__init__(function)
        make: Any = _ChecksummedFiles
        self._cache_file = make(str(folder), self._impl.filename_base, "")


class _Code(caching.CompileResultCacheImpl):
    def __init__(self, function: Callable[..., object], folder: Path) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function, folder)
        name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
        implementation: Any = self
        self._filename_base = implementation.get_filename_base(name, getattr(sys, "abiflags", ""))


class _Locator(caching._CacheLocator):
    """The location of cached code. The folder name depends on the sources, so their modification times are ignored."""

    def __init__(self, function: Callable[..., object], folder: Path) -> None:
        self._py_file, self._lineno, self._folder = (
            function.__code__.co_filename,
            function.__code__.co_firstlineno,
            folder,
        )

    def ensure_cache_path(self) -> None:
        """Create the folder."""
        os.makedirs(self._folder, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return ""

    def get_disambiguator(self) -> str:
        return str(self._lineno)


class _ChecksummedFiles(caching.IndexDataCacheFile):
    """Cache files that end with their SHA-256, which pickle ignores. A file with a wrong checksum counts as missing."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        whole = io.BytesIO()
        yield whole
        with super()._open_for_write(filepath) as file:
            file.write(whole.getvalue() + hashlib.sha256(whole.getvalue()).digest())

    def _load_index(self) -> object:
        base: Any = super()
        return base._load_index() if _has_valid_checksum(self._index_path) else {}

    def _load_data(self, name: str) -> object:
        base: Any = super()
        if not _has_valid_checksum(base._data_path(name)):
            raise FileNotFoundError(name)
        return base._load_data(name)


def _has_valid_checksum(path: str) -> bool:
    try:
        data = Path(path).read_bytes()
    except OSError:
        return False
    size = hashlib.sha256().digest_size
    return hashlib.sha256(data[:-size]).digest() == data[-size:]
