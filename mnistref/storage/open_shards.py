"""A bounded number of open shard files for the readers of a process, however many shards and data sets there are."""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mnistref.storage.shards import ShardInfo, open_shard_file

MAX_OPEN = 64
_SHARE = 4
"""At most one in so many of the files that the process may open."""


def max_open() -> int:
    """How many shard files this process keeps open."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except ImportError:  # not a POSIX system
        return MAX_OPEN
    return MAX_OPEN if limit < 0 else max(1, min(MAX_OPEN, limit // _SHARE))


class ShardFiles:
    """Open shard files. The least recently used one is closed for the next. Safe for threads and forks."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Start without open files, and with a lock that nobody holds: for a forked process."""
        self._files: OrderedDict[tuple[Path, ShardInfo], h5py.File] = OrderedDict()
        self._reading = threading.RLock()

    @contextmanager
    def open(self, path: Path, shard: ShardInfo, canvas: int) -> Iterator[h5py.File]:
        """A shard whose form was checked when it was opened, for one reader at a time.

        Raises as `shards.open_shard_file`.
        """
        key = path, shard
        with self._reading:
            file = self._files.pop(key, None) or self._open(path, shard.images, canvas)
            self._files[key] = file
            while len(self._files) > (self._most or max_open()):
                self._files.popitem(last=False)[1].close()
            yield file

    def close(self) -> None:
        """Close all files."""
        with self._reading:
            while self._files:
                self._files.popitem()[1].close()

    def _open(self, path: Path, images: int, canvas: int) -> h5py.File:
        try:
            return open_shard_file(path, images, canvas)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._files:
                raise
            self.close()  # others of the process may have opened the rest
            return open_shard_file(path, images, canvas)


SHARD_FILES = ShardFiles()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARD_FILES.forget)
