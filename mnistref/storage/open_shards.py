"""A bounded cache of open shard files, shared by all readers of a process."""

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
"""Maximum number of open shard files per process."""
_SHARE = 4
"""The cache holds at most 1/_SHARE of the files that the process may open."""


def max_open() -> int:
    """Return how many shard files this process keeps open."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except ImportError:  # not a POSIX system
        return MAX_OPEN
    return MAX_OPEN if limit < 0 else max(1, min(MAX_OPEN, limit // _SHARE))


class ShardFiles:
    """A least-recently-used cache of open shard files, safe for threads and forks.

    Args:
        most: maximum number of open files; by default `max_open()`.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Start with an empty cache and a new lock, as a forked process must."""
        self._files: OrderedDict[tuple[Path, ShardInfo], h5py.File] = OrderedDict()
        self._reading = threading.RLock()

    @contextmanager
    def open(self, path: Path, shard: ShardInfo, canvas: int) -> Iterator[h5py.File]:
        """Yield an open shard file to one reader at a time. Its layout is checked when it is opened.

        Raises:
            DataProblemError: the shard is missing or damaged.
            OSError: the system cannot open the file.
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
            self.close()  # the limit may be reached by other files of the process
            return open_shard_file(path, images, canvas)


SHARD_FILES = ShardFiles()
"""The cache of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARD_FILES.forget)
