"""Whole splits as arrays: the order of the images, wrong names, and files that cannot be mapped."""

import os

import numpy as np
import pytest

from mnistref import dataset
from mnistref.common.errors import UsageProblemError
from mnistref.dataset.arrays import map_file


def test_failed_mapping_of_a_split_names_the_path(mini, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("unable to mmap 100 bytes from file <x>: No such device (19)")

    monkeypatch.setattr("torch.from_file", refused)
    with pytest.raises(OSError, match="No such device") as error:
        dataset.map_split(mini, "train")
    assert error.value.filename.startswith(str(mini))


def test_images_of_a_split_are_read_and_mapped_in_order(make, monkeypatch):
    """The split has three shards, the last of which is shorter."""
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 2)
    monkeypatch.setattr("mnistref.storage.manifest_schema.SHARD_IMAGES", 2)
    folder = make("mini", seed=23, sizes={"train": 5, "val": 1, "test": 1})
    parts = dataset.map_split(folder, "train")
    assert [part.shape for part in parts] == [(n, 48, 48, 3) for n in (2, 2, 1)]
    arrays = dataset.read_split(folder, "train", "image", "label")
    np.testing.assert_array_equal(np.concatenate(parts), arrays["image"])
    items = dataset.MnistRef(folder)
    assert [items[k]["label"] for k in range(5)] == arrays["label"].tolist()


def test_writes_to_a_mapped_split_do_not_reach_the_file(mini):
    before = dataset.read_split(mini, "val", "image")["image"]
    dataset.map_split(mini, "val")[0][:] = 7
    np.testing.assert_array_equal(dataset.map_split(mini, "val")[0], before)


@pytest.mark.parametrize("name", ["plain", os.fsdecode(b"caf\xe9")])
def test_a_part_of_a_file_is_mapped_under_any_name(name, tmp_path):
    """PyTorch maps no file whose name is not UTF-8, so that NumPy does."""
    path = tmp_path / name
    path.write_bytes(bytes(range(17)))
    mapped = map_file(path, 5, (2, 3, 2))
    assert mapped.tolist() == np.arange(5, 17).reshape(2, 3, 2).tolist()
    mapped[:] = 0
    assert path.read_bytes() == bytes(range(17))


def test_unknown_splits_and_queries_are_refused_by_name(mini):
    with pytest.raises(UsageProblemError, match="has no 'validation' split"):
        dataset.read_split(mini, "validation", "label")
    with pytest.raises(UsageProblemError, match="has no 'Test' split"):
        dataset.map_split(mini, "Test")
    with pytest.raises(UsageProblemError, match="queries 'some': give one of one, all, author"):
        dataset.read_triples(mini, "val", "some")
