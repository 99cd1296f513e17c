"""Comparison of exported rows with the fields of a data set."""

import numpy as np

from mnistref.storage.manifest import read_manifest
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import read_shard


def truth(folder, split: str) -> dict[str, np.ndarray]:
    """Return all fields of a split of one shard, and `mask`."""
    manifest = read_manifest(folder)
    (shard,) = manifest.splits[split]
    fields = read_shard(folder / shard.file, shard.images, manifest.variant.canvas, FIELDS)
    return {**fields, "mask": (fields["instance"] == fields["query_slot"][:, None, None] + 1) * np.uint8(255)}


def assert_equal(rows: list[dict], wanted: dict[str, np.ndarray]) -> None:
    """Check that every field of every row, images and numbers, has the same bits."""
    for name in ("mask", *FIELDS):
        found = np.stack([np.asarray(row[name]) for row in rows])
        np.testing.assert_array_equal(found.astype(wanted[name].dtype), wanted[name], err_msg=name)
