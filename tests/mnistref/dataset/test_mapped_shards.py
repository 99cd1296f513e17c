"""Memory-mapped shards: order of reads, replaced and damaged files, threads."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from mnistref import MnistRef
from mnistref.common.errors import DataProblemError
from mnistref.dataset import mapped_shards, read_split
from mnistref.storage import chunks
from mnistref.storage.integrity import is_intact
from tests.helpers import TOP


@pytest.fixture
def many(make, monkeypatch) -> Path:
    """Return a data set of 10 + 3 + 2 shards of two images."""
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 2)
    monkeypatch.setattr("mnistref.storage.manifest_schema.SHARD_IMAGES", 2)
    return make("mini", seed=22, sizes={"train": 20, "val": 6, "test": 4})


@pytest.fixture
def copied(make, tmp_path) -> Path:
    return Path(shutil.copytree(make("mini"), tmp_path / "copy"))


def require_same(dataset: MnistRef, numbers) -> None:
    """Check that the items of these images equal those read with HDF5."""
    arrays = read_split(dataset.folder, dataset.split, "image", "instance")
    for k in numbers:
        image, instance = dataset._shards.read(k)
        np.testing.assert_array_equal(image.permute(1, 2, 0), arrays["image"][k])
        np.testing.assert_array_equal(instance, arrays["instance"][k])


@pytest.mark.parametrize("order", ["in order", "backwards", "shuffled", "repeated"])
def test_every_order_reads_the_same_items(order, make):
    numbers = {
        "in order": range(60),
        "backwards": range(59, -1, -1),
        "shuffled": np.random.default_rng(0).permutation(60).tolist(),
        "repeated": [9, 9, 0, 9, 59, 50, 59, 51],
    }[order]
    require_same(MnistRef(make("mbg")), numbers)


def test_few_shards_are_mapped_and_few_masks_cached(many, monkeypatch):
    monkeypatch.setattr(mapped_shards, "MAX_MAPPED", 3)
    monkeypatch.setattr(mapped_shards, "CACHE_BYTES", 3 * 2 * 48 * 48)
    dataset = MnistRef(many)
    require_same(dataset, [*range(20), *range(19, -1, -1)])
    assert len(dataset._shards._mapped) == len(dataset._shards._decoded) == 3


def test_mapped_shards_leave_no_file_open(many):
    before = len(os.listdir("/proc/self/fd"))
    require_same(MnistRef(many), range(20))
    assert len(os.listdir("/proc/self/fd")) == before


def test_changes_of_a_sample_do_not_reach_other_samples(make):
    dataset = MnistRef(make("mini"))
    first = {name: torch.as_tensor(value).clone() for name, value in dataset[3].items()}
    sample = dataset[3]
    for name in ("image", "mask", "boxes", "box"):
        sample[name].zero_()
    assert all(torch.equal(torch.as_tensor(dataset[3][name]), value) for name, value in first.items())


def test_a_file_that_is_replaced_by_the_same_bytes_is_read(copied):
    dataset = MnistRef(copied)
    dataset[0]
    path = copied / "train-00000-of-00001.h5"
    shutil.copy(path, copied / "new")
    (copied / "new").replace(path)
    require_same(dataset, range(0, 60, 7))


def test_a_deleted_file_stays_readable_while_it_is_mapped(copied):
    dataset, unread = MnistRef(copied), MnistRef(copied)
    before = dataset[5]["image"].clone()
    (copied / "train-00000-of-00001.h5").unlink()
    assert torch.equal(dataset[5]["image"], before)
    with pytest.raises(DataProblemError, match=r"train-00000.* missing"):
        unread[5]


def test_changed_or_truncated_mapped_file_is_an_error_without_a_crash(copied):
    """The system kills a process that reads beyond the end of a mapped file."""
    code = """
import os, sys
from mnistref import MnistRef
from mnistref.common.errors import DataProblemError
data, path = MnistRef(sys.argv[1]), sys.argv[1] + "/train-00000-of-00001.h5"
data[0]
content = open(path, "rb").read()
for change in (content[:5000], b"", content[:-1] + bytes([content[-1] ^ 1])):
    with open(path, "wb") as file:
        file.write(change)
    os.utime(path, ns=(0, len(change)))
    for _ in range(2):
        try:
            data[59]
        except DataProblemError as error:
            assert path in str(error)
        else:
            raise AssertionError("a changed file was read")
with open(path, "wb") as file:
    file.write(content)
print(data[59]["query"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(copied)], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()


@pytest.mark.parametrize(
    "storage",
    [
        {"chunks": (7, 48, 48), "compression": "gzip"},
        {"chunks": (10, 24, 48), "compression": "gzip"},
        {"chunks": (10, 48, 48), "compression": "gzip", "shuffle": True},
        {"chunks": (10, 48, 48), "compression": "lzf"},
        {"chunks": (10, 48, 48), "fletcher32": True},
        {},
    ],
    ids=str,
)
def test_masks_with_other_storage_are_read(storage, copied, monkeypatch):
    monkeypatch.setattr("mnistref.dataset.mapped_shards.require_intact_once", lambda *_: None)
    wanted = read_split(copied, "train", "instance")["instance"]
    path = copied / "train-00000-of-00001.h5"
    with h5py.File(path, "a") as file:
        del file["instance"]
        file.create_dataset("instance", data=wanted, **storage)
    shards = MnistRef(copied, "val").manifest.splits["train"]
    assert not is_intact(path, shards[0])
    with h5py.File(path) as file:
        direct = chunks.find_chunks(file, "instance")
    assert (direct is not None) == (storage == {"chunks": (7, 48, 48), "compression": "gzip"})
    changed = [type(shards[0])(**{**shards[0].as_dict(), "bytes": path.stat().st_size})]
    reader = mapped_shards.MappedShards(copied, changed, 48)
    for k in (0, 59, 6, 7, 13, 58):
        np.testing.assert_array_equal(reader.read(k)[1], wanted[k])


def test_damaged_mask_chunk_is_a_data_error(make):
    path = make("mini") / "train-00000-of-00001.h5"
    content = np.fromfile(path, np.uint8)
    with h5py.File(path) as file:
        found = chunks.find_chunks(file, "instance")
    offset, size = found.places[1]
    content[offset + size // 2 :][:50] = 255
    content[offset : offset + 2] = 0
    with pytest.raises(DataProblemError, match=r"train-00000.*mask is damaged"):
        chunks.decode_chunk(content, found, 1, 10, path)
    assert chunks.decode_chunk(content, found, 0, 10, path).shape == (10, 48, 48)


def test_threads_share_a_data_set(many, monkeypatch):
    monkeypatch.setattr(mapped_shards, "MAX_MAPPED", 2)
    monkeypatch.setattr(mapped_shards, "CACHE_BYTES", 2 * 2 * 48 * 48)
    dataset = MnistRef(many)
    wanted = [int(dataset[k]["mask"].sum()) for k in range(20)]
    found: list[list[int]] = [[] for _ in range(4)]

    def read(thread: int) -> None:
        for _ in range(20):
            found[thread] = [int(dataset[(k + 5 * thread) % 20]["mask"].sum()) for k in range(20)]

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[k] == [*wanted[5 * k :], *wanted[: 5 * k]] for k in range(4))
