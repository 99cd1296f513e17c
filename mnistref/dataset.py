"""Read a generated data set: the torch Dataset `MnistRef`, and whole splits as arrays.

Every file is checked against its SHA-256 before it is read. A bounded number of files is open at a time.
"""

import math
import os
import re
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mnistref.common.errors import UsageProblemError
from mnistref.queries import UNITS, Triples, triples
from mnistref.storage.integrity import require_intact
from mnistref.storage.manifest import Manifest, read_manifest
from mnistref.storage.open_shards import SHARD_FILES
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import ShardInfo, image_offset, open_shard, read_field

__all__ = [
    "Manifest",
    "MnistRef",
    "Triples",
    "forget_checks",
    "map_split",
    "read_manifest",
    "read_split",
    "read_triples",
]


@lru_cache(maxsize=4096)
def _require_intact_once(path: Path, shard: ShardInfo) -> None:
    """Raise DataProblemError unless the file matches the manifest. Each file is checked once per process."""
    require_intact(path, shard)


def forget_checks() -> None:
    """Check the files of every data set again at the next read."""
    _require_intact_once.cache_clear()


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
    canvas, images = manifest.variant.canvas, manifest.images(manifest.require_split(split))
    for shard in manifest.splits[split]:  # before memory is allocated, whose size the manifest determines
        _require_intact_once(Path(folder) / shard.file, shard)
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
    canvas, parts = manifest.variant.canvas, []
    for shard in manifest.splits[manifest.require_split(split)]:
        path = Path(folder) / shard.file
        _require_intact_once(path, shard)
        with open_shard(path, shard.images, canvas) as file:
            offset = image_offset(file, path)
        parts.append(_map_file(path, offset, FIELDS["image"].full_shape(shard.images, canvas)))
    return parts


def _map_file(path: Path, offset: int, shape: tuple[int, ...]) -> np.ndarray:
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
        units: one of `mnistref.queries.UNITS`.

    Raises:
        UsageProblemError: there is no data set, split or unit with this name.
        DataProblemError: a shard is missing or damaged.
    """
    if units not in UNITS:
        raise UsageProblemError(f"queries {units!r}: give one of {', '.join(UNITS)}")
    digits = read_split(folder, split, "digit_class", "digit_color", "query_slot")
    return triples(read_manifest(folder).variant, units, **digits)


class MnistRef(Dataset[dict[str, Any]]):
    """Questions about images, as a torch Dataset of dictionaries.

    Each item has these entries:

    - `image`: tv_tensors.Image u1 (3, H, W), RGB
    - `query`, `label`: int
    - `mask`: tv_tensors.Mask bool (H, W), the ink of the queried digit
    - `scale`: float, scale of the queried digit
    - `box`: i8 (4,), the square of its glyph as y0, x0, y1, x1, half-open
    - `labels`: bool (K,), the set of correct labels; only if the queried class is repeated (mbgmulti)

    Args:
        folder: a data set made by `mnistref generate`.
        split: train, val or test.
        queries: "one" question per image, "all" of them, or "author" (the first N questions of all, as in the PAN
            program).
        transforms: a callable on the dictionary, for example from torchvision.transforms.v2. It receives the box as
            tv_tensors.BoundingBoxes (1, 4) in XYXY format, so that the box is transformed with the image.

    Raises:
        UsageProblemError: there is no data set, split or unit with this name.
        DataProblemError: a shard is missing or damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        queries: str = "one",
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.manifest: Manifest = read_manifest(self.folder)
        self.variant = self.manifest.variant
        self.split = self.manifest.require_split(split)
        self.triples = read_triples(self.folder, split, queries)
        self.transforms = transforms
        self._shards = self.manifest.splits[split]
        self._first = np.cumsum([0, *(shard.images for shard in self._shards)]).tolist()

    def __len__(self) -> int:
        return len(self.triples.image)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        from torchvision import tv_tensors  # as slow to import as PyTorch, and not needed to read arrays

        image, slot = int(self.triples.image[index]), int(self.triples.slot[index])
        fields = self._read(image)
        y0, x0, y1, x1 = fields["digit_box"][slot].tolist()
        size = fields["instance"].shape
        sample: dict[str, Any] = {
            "image": tv_tensors.Image(torch.from_numpy(fields["image"]).permute(2, 0, 1).contiguous()),
            "query": int(self.triples.query[index]),
            "label": int(self.triples.label[index]),
            "mask": tv_tensors.Mask(torch.from_numpy(fields["instance"] == slot + 1)),
            "scale": float(fields["digit_scale"][slot]),
            "box": tv_tensors.BoundingBoxes(torch.tensor([[x0, y0, x1, y1]]), format="XYXY", canvas_size=size),
        }
        if self.variant.repeats[1] > 1:
            right = fields["digit_color"][fields["digit_class"] == sample["query"]]
            sample["labels"] = torch.zeros(self.variant.classes, dtype=torch.bool).index_fill_(
                0, torch.from_numpy(right.astype(np.int64)), True
            )
        if self.transforms is not None:
            sample = self.transforms(sample)
        sample["box"] = torch.as_tensor(sample["box"]).reshape(-1)[[1, 0, 3, 2]]
        return sample

    def _read(self, image: int) -> dict[str, np.ndarray]:
        k = bisect_right(self._first, image) - 1
        shard = self._shards[k]
        path = self.folder / shard.file
        _require_intact_once(path, shard)
        names = ("image", "instance", "digit_class", "digit_color", "digit_scale", "digit_box")
        with SHARD_FILES.open(path, shard, self.variant.canvas) as file:
            return {name: read_field(file, name, path, image - self._first[k]) for name in names}
