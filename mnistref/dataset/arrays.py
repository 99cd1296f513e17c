"""Whole splits of a data set as arrays, read or mapped into memory.

Every file is checked against its SHA-256 before it is read, once per process.
"""

import math
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from mnistref.common.errors import UsageProblemError
from mnistref.queries import Triples, triples
from mnistref.spec import UNITS
from mnistref.storage.integrity import require_intact
from mnistref.storage.manifest import read_manifest
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import ShardInfo, image_offset, open_shard, read_field


@lru_cache(maxsize=4096)
def require_intact_once(path: Path, shard: ShardInfo) -> None:
    """Raise DataProblemError unless the file matches the manifest. Each file is checked once per process."""
    require_intact(path, shard)


def forget_checks() -> None:
    """Check the files of every data set again at the next read."""
    require_intact_once.cache_clear()


def read_split(folder: Path, split: str, *names: str) -> dict[str, np.ndarray]:
    """Read whole fields of a split into memory.

    Args:
        folder: a data set made by `mnistref generate`.
        split: train, val or test.
        names: fields, see `mnistref.storage.schema.FIELDS`.

    Returns:
        Field name → array (N, …), in the order of the images.

    Raises:
        UsageProblemError: there is no data set or no such split.
        DataProblemError: a shard is missing or damaged.
    """
    manifest = read_manifest(folder)
    manifest.require_split(split)
    canvas, images = manifest.variant.canvas, manifest.images(split)
    for shard in manifest.splits[split]:  # before memory is allocated, whose size the manifest determines
        require_intact_once(Path(folder) / shard.file, shard)
    arrays = {name: np.empty(FIELDS[name].full_shape(images, canvas), FIELDS[name].dtype) for name in names}
    first = 0
    for shard in manifest.splits[split]:
        path = Path(folder) / shard.file
        with open_shard(path, shard.images, canvas) as file:
            for name, array in arrays.items():
                array[first : first + shard.images] = read_field(file, name, path)
        first += shard.images
    return arrays


def map_split(folder: Path, split: str) -> list[np.ndarray]:
    """Map the images of a split into memory: one array u1 (n, H, W, 3) for each shard, in order.

    Pages are read on first access and remain in the page cache while memory allows. Writes to the arrays are private to
    this process. No file descriptor stays open.

    Raises:
        UsageProblemError: there is no data set or no such split.
        DataProblemError: a shard is missing or damaged.
    """
    manifest = read_manifest(folder)
    manifest.require_split(split)
    canvas, parts = manifest.variant.canvas, []
    for shard in manifest.splits[split]:
        path = Path(folder) / shard.file
        require_intact_once(path, shard)
        with open_shard(path, shard.images, canvas) as file:
            offset = image_offset(file, path)
        parts.append(map_file(path, offset, FIELDS["image"].full_shape(shard.images, canvas)))
    return parts


def map_file(path: Path, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """Map a part of a file into memory as u1 of this shape, copy-on-write.

    Raises:
        OSError: the system cannot map the file. The error names the path.
    """
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:  # PyTorch does not accept such a path; NumPy does, but keeps the file open
        return np.asarray(np.memmap(path, np.uint8, "c", offset, shape))
    try:
        mapped = torch.from_file(name, False, offset + math.prod(shape), dtype=torch.uint8)
    except RuntimeError as error:
        number = re.search(r"\((\d+)\)$", str(error).partition("\n")[0])
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), name) from error
    return mapped[offset:].numpy().reshape(shape)


def read_triples(folder: Path, split: str, units: str) -> Triples:
    """Return the questions of a split.

    Args:
        folder: a data set made by `mnistref generate`.
        split: train, val or test.
        units: one of `mnistref.spec.UNITS`.

    Raises:
        UsageProblemError: there is no data set, split or unit with this name.
        DataProblemError: a shard is missing or damaged.
    """
    digits = read_split(folder, split, "digit_class", "digit_color", "query_slot")
    require_queries(units)
    return triples(read_manifest(folder).variant, units, **digits)


def require_queries(units: str) -> None:
    """Raise UsageProblemError with the existing units of questions unless `units` is one of them."""
    if units not in UNITS:
        raise UsageProblemError(f"queries {units!r}: give one of {', '.join(UNITS)}")
