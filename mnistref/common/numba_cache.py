"""Compiled code on disk: read from the first of several folders that has it, written to the first that takes it.

A cache may cost time, but never a command: numba's own passes on whatever a damaged file, a full disk or a folder that
cannot be written makes it raise, and would run machine code with a flipped bit.
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
    """What numba asks for the compiled forms of one function, and hands them to."""

    def __init__(self, function: Callable, folders: Sequence[Path]) -> None:
        self._folders = [_Folder(function, folder) for folder in folders]

    @property
    def cache_path(self) -> str | None:
        return str(self._folders[0].cache_path) if self._folders else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        for folder in self._folders:
            with suppress(Exception):
                found = folder.load_overload(sig, target_context)
                if found is not None:
                    return found
        _log_once("compiling for this machine, which takes up to half a minute …")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        for folder in self._folders:
            with suppress(Exception):
                return folder.save_overload(sig, data)
        _log_once("compiled code can be kept nowhere, so each start takes this long; NUMBA_CACHE_DIR may name a place")
        return None

    def enable(self) -> None:
        """numba's interface: there is nothing to be enabled."""

    def disable(self) -> None:
        """Likewise."""

    def flush(self) -> None:
        for folder in self._folders:
            with suppress(Exception):
                folder.flush()


@lru_cache
def _log_once(line: str) -> None:
    """Once a process, however many functions it is true of."""
    log.info("%s", line)


class _Folder(caching.FunctionCache):
    """The compiled forms of one function in one folder, which need not exist and is not touched before it is used."""

    _impl_class: Any

    def __init__(self, function: Callable, folder: Path) -> None:
        self._impl_class = partial(_Code, folder=folder)
        super().__init__(function)
        self._cache_file = _ChecksummedFiles(str(folder), self._impl.filename_base, "")


class _Code(caching.CompileResultCacheImpl):
    def __init__(self, function: Callable, folder: Path) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function, folder)
        name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))


class _Locator(caching._CacheLocator):
    """The folder's name stands for the sources, so their times, which another mount may change, do not matter."""

    def __init__(self, function: Callable, folder: Path) -> None:
        self._py_file, self._lineno, self._folder = (
            function.__code__.co_filename,
            function.__code__.co_firstlineno,
            folder,
        )

    def ensure_cache_path(self) -> None:
        os.makedirs(self._folder, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return ""

    def get_disambiguator(self) -> str:
        return str(self._lineno)


class _ChecksummedFiles(caching.IndexDataCacheFile):
    """Files that end with their digest (pickle looks no further than its own end); without it, they count as absent."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        whole = io.BytesIO()
        yield whole
        with super()._open_for_write(filepath) as file:
            file.write(whole.getvalue() + hashlib.sha256(whole.getvalue()).digest())

    def _load_index(self) -> dict:
        return super()._load_index() if _has_valid_checksum(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        if not _has_valid_checksum(self._data_path(name)):
            raise FileNotFoundError(name)
        return super()._load_data(name)


def _has_valid_checksum(path: str) -> bool:
    try:
        data = Path(path).read_bytes()
    except OSError:
        return False
    size = hashlib.sha256().digest_size
    return hashlib.sha256(data[:-size]).digest() == data[-size:]
