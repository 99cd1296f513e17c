"""A shard as rows for other formats: image and masks as PNG, every other field as a plain value."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnistref.spec import VariantSpec
from mnistref.storage.integrity import require_intact
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import ShardInfo, open_shard, read_field

PICTURES = {
    "image": "RGB",
    "mask": "ink of the queried digit: 255, else 0",
    "instance": FIELDS["instance"].meaning,
}
"""Pictures of a row, stored as PNG, and their meaning."""

VALUES = [name for name in FIELDS if name not in PICTURES]
"""All other fields, in the shape of the schema."""

BLOCK = 100
"""Images in memory at a time."""

_COMPRESSION = 1  # of zlib; its default, 6, takes 2–3 times as long for files 5–8 % smaller

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One shard to export. `first` is the index of its first image in the split."""

    folder: Path
    shard: ShardInfo
    variant: VariantSpec
    split: str
    first: int

    @property
    def stem(self) -> str:
        """Name of the shard without its suffix."""
        return Path(self.shard.file).stem


def blocks(part: Part) -> Iterator[list[Row]]:
    """Yield the rows of a shard, up to `BLOCK` at a time.

    Raises:
        DataProblemError: the shard is damaged.
    """
    path = part.folder / part.shard.file
    require_intact(path, part.shard)
    with open_shard(path, part.shard.images, part.variant.canvas) as file:
        for at in range(0, part.shard.images, BLOCK):
            arrays = {name: read_field(file, name, path, slice(at, at + BLOCK)) for name in FIELDS}
            yield [_row({name: array[k] for name, array in arrays.items()}) for k in range(len(arrays["count"]))]


def rows(part: Part) -> Iterator[tuple[str, Row]]:
    """Yield (key, row) for each image of a shard. The key is its index in the split, with six digits."""
    index = part.first
    for block in blocks(part):
        for row in block:
            yield f"{index:06d}", row
            index += 1


def _row(fields: dict[str, np.ndarray]) -> Row:
    mask = (fields["instance"] == fields["query_slot"] + 1).astype(np.uint8) * 255
    pictures = {"image": fields["image"], "mask": mask, "instance": fields["instance"]}
    return {name: _png(pictures[name]) for name in PICTURES} | {name: fields[name].tolist() for name in VALUES}


def _png(pixels: np.ndarray) -> bytes:
    """Return pixels u1 (H, W, 3) or (H, W) as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()
