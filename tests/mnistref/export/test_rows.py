"""Rows of a shard: keys, blocks, and pictures and values that equal the fields."""

import io

import numpy as np
import pytest
from PIL import Image

from mnistref.common.errors import DataProblemError
from mnistref.export import rows as of_shard
from mnistref.export.rows import PICTURES, VALUES, Part, blocks, rows
from mnistref.storage.manifest import read_manifest
from tests.mnistref.export.comparison import truth


@pytest.fixture
def part(make) -> Part:
    """Return the only shard, of 20 images, as if 995 images were before it."""
    folder = make("mbg")
    manifest = read_manifest(folder)
    return Part(folder, manifest.splits["val"][0], manifest.variant, "val", first=995)


def test_blocks_hold_all_rows_and_the_last_is_shorter(part, monkeypatch):
    monkeypatch.setattr(of_shard, "BLOCK", 7)
    assert [len(block) for block in blocks(part)] == [7, 7, 6]
    assert part.stem == "val-00000-of-00001"


def test_keys_continue_from_the_first_index(part):
    assert [key for key, _ in rows(part)] == [f"{k:06d}" for k in range(995, 1015)]


def test_rows_equal_the_fields_of_the_shard(part):
    wanted = truth(part.folder, "val")
    for k, (_, row) in enumerate(rows(part)):
        assert list(row) == [*PICTURES, *VALUES]
        pictures = {name: np.asarray(Image.open(io.BytesIO(row[name]))) for name in PICTURES}
        np.testing.assert_array_equal(pictures["image"], wanted["image"][k])
        np.testing.assert_array_equal(pictures["instance"], wanted["instance"][k])
        queried = wanted["instance"][k] == wanted["query_slot"][k] + 1
        np.testing.assert_array_equal(pictures["mask"], np.where(queried, 255, 0))
        for name in VALUES:
            np.testing.assert_array_equal(row[name], wanted[name][k], err_msg=name)


def test_rows_of_a_missing_shard_are_a_data_error(part, tmp_path):
    missing = Part(tmp_path, part.shard, part.variant, part.split, 0)
    with pytest.raises(DataProblemError, match="the shard is missing"):
        next(blocks(missing))
