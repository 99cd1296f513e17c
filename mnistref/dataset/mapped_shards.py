"""Images and masks of a split, one at a time, from shards that are mapped into memory.

HDF5 is used once per shard, to find the offsets of the images and of the compressed masks. No file stays open.
"""

import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from mnistref.dataset.arrays import map_file, require_intact_once
from mnistref.storage.chunks import Chunks, decode_chunk, find_chunks
from mnistref.storage.integrity import require_intact
from mnistref.storage.open_shards import SHARD_FILES
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import ShardInfo, image_offset, open_shard, read_field

MAX_MAPPED = 64
"""Maximal number of mapped shards of a data set object."""
CACHE_BYTES = 16 * 2**20
"""Maximal size of the decoded masks that a data set object caches."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Mapped(NamedTuple):
    """A mapped shard.

    Attributes:
        identity: device, inode, size and time of change of the file when it was checked.
        content: the bytes of the file, u1 (n,).
        images: u1 (N, H, W, 3), a view of `content`.
        masks: the chunks of `instance`; None if HDF5 has to decode them.
    """

    identity: tuple[int, ...]
    content: np.ndarray
    images: np.ndarray
    masks: Chunks | None


class MappedShards:
    """The images and masks of a split.

    Threads may share an object, and processes may be forked: there is no lock, because all changes of the two caches
    are single operations of a dictionary. A pickled object has empty caches.

    Args:
        folder: a data set.
        shards: the shards of the split.
        canvas: side of an image in pixels.
    """

    def __init__(self, folder: Path, shards: Sequence[ShardInfo], canvas: int) -> None:
        self._shards = [(folder / shard.file, shard) for shard in shards]
        self._first = [0, *accumulate(shard.images for shard in shards)]
        self._canvas = canvas
        self._mapped: dict[int, _Mapped] = {}
        self._decoded: dict[tuple[int, int], np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_mapped": {}, "_decoded": {}}

    def read(self, image: int) -> tuple[Tensor, np.ndarray]:
        """Return an image, u1 (3, H, W), and the digit of each of its pixels, u1 (H, W), see `FIELDS`.

        The image is a copy. The masks must not be written.

        Args:
            image: index of the image in the split.

        Raises:
            DataProblemError: the shard is missing or damaged.
            OSError: the system cannot map the file.
        """
        shard = bisect_right(self._first, image) - 1
        index = image - self._first[shard]
        mapped = self._map(shard)
        pixels = np.ascontiguousarray(mapped.images[index].transpose(2, 0, 1))  # half the time of PyTorch's copy
        return torch.from_numpy(pixels), self._masks(shard, mapped, index)

    def _map(self, number: int) -> _Mapped:
        """Return a shard that has been checked and mapped. A file that has changed since is checked and mapped again.

        Without the comparison, reading beyond the end of a truncated file would kill the process.
        """
        path, shard = self._shards[number]
        mapped = self._mapped.get(number)
        try:
            identity = _identify(path)
        except FileNotFoundError:
            if mapped is not None:  # a deleted file stays readable while it is mapped
                return mapped
            identity = ()
        require_intact_once(path, shard)
        if mapped is not None:
            if mapped.identity == identity:
                return mapped
            require_intact(path, shard)
            self._decoded.clear()
        with open_shard(path, shard.images, self._canvas) as file:
            offset, masks = image_offset(file, path), find_chunks(file, "instance")
        content = map_file(path, 0, (shard.bytes,))
        shape = FIELDS["image"].full_shape(shard.images, self._canvas)
        images = content[offset : offset + math.prod(shape)].reshape(shape)
        mapped = _Mapped(identity, content, images, masks)
        _store(self._mapped, number, mapped, MAX_MAPPED)
        return mapped

    def _masks(self, number: int, mapped: _Mapped, index: int) -> np.ndarray:
        """Return the masks of an image of a shard.

        The first access to a chunk decodes it up to the image, which is faster in random order. The second one decodes
        all of it, for the images that follow. What was decoded is cached.
        """
        path, shard = self._shards[number]
        if mapped.masks is None:
            with SHARD_FILES.open(path, shard, self._canvas) as file:
                return read_field(file, "instance", path, index)
        images = mapped.masks.shape[0]
        chunk, row = divmod(index, images)
        decoded = self._decoded.get((number, chunk))
        if decoded is None or len(decoded) <= row:
            decoded = decode_chunk(mapped.content, mapped.masks, chunk, row + 1 if decoded is None else images, path)
            chunk_bytes = math.prod(mapped.masks.shape)
            _store(self._decoded, (number, chunk), decoded, max(1, CACHE_BYTES // chunk_bytes))
        masks: np.ndarray = decoded[row]
        return masks


def _identify(path: Path) -> tuple[int, ...]:
    """Return what changes if a file is replaced or written."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _store(cache: dict[Key, Value], key: Key, value: Value, maximum: int) -> None:
    """Add an entry to a cache, and remove the oldest ones if there are more than the maximum."""
    cache[key] = value
    for old in list(cache)[:-maximum]:
        cache.pop(old, None)
