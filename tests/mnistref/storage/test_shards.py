"""Shard files: round trips, refused layouts, and damage."""

import hashlib
import shutil

import h5py
import numpy as np
import pytest

from mnistref.common.errors import DataProblemError
from mnistref.storage import schema
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import (
    content_digest,
    open_shard,
    read_shard,
    read_shard_info,
    read_whole_shard,
    write_shard,
)


@pytest.fixture
def arrays():
    """Return twelve images of a 20-px canvas, with values over their whole ranges."""
    rng = np.random.default_rng(0)
    made = schema.empty(12, 20)
    for name, field in FIELDS.items():
        array = getattr(made, name)
        high = min(field.high, 200)
        array[:] = (
            rng.uniform(field.low, high, array.shape)
            if field.dtype == "f4"
            else rng.integers(field.low, high + 1, array.shape)
        )
    return made


@pytest.fixture
def shard(arrays, tmp_path):
    path = tmp_path / "set" / "train-00000-of-00001.h5"
    return path, write_shard(path, arrays, "set-0123")


def test_shard_arrays_survive_a_round_trip(arrays, shard):
    path, info = shard
    back = read_whole_shard(path, 12, 20)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(back, name), getattr(arrays, name))
        assert getattr(back, name).dtype == np.dtype(FIELDS[name].dtype)
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.bytes == path.stat().st_size
    assert info.content_sha256 == content_digest(back)
    assert read_shard_info(path, 12, 20, "set-0123") == info
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_same_arrays_give_the_same_bytes(arrays, shard, tmp_path):
    path, info = shard
    assert write_shard(tmp_path / "other" / path.name, arrays, "set-0123") == info


def test_images_can_be_memory_mapped(arrays, shard):
    path, _ = shard
    with h5py.File(path) as file:
        assert file["image"].chunks is None
        mapped = np.memmap(path, np.uint8, "r", file["image"].id.get_offset(), arrays.image.shape)
    np.testing.assert_array_equal(mapped, arrays.image)


def test_content_digest_depends_on_every_field(arrays):
    digest = content_digest(arrays)
    for name in FIELDS:
        changed = {n: getattr(arrays, n).copy() for n in FIELDS}
        changed[name].reshape(-1)[-1] += 1
        assert content_digest(schema.Arrays(**changed)) != digest


def test_renamed_shard_is_refused(shard):
    path, _ = shard
    other = path.with_name("train-00001-of-00002.h5")
    shutil.copy(path, other)
    with pytest.raises(DataProblemError, match="not what its label says"):
        read_shard_info(path, 12, 20, "set-9999")
    with pytest.raises(DataProblemError, match="not what its label says"):
        read_shard_info(other, 12, 20, "set-0123")


def test_values_outside_their_range_are_refused(arrays, tmp_path):
    arrays.label[3] = 11
    write_shard(tmp_path / "s.h5", arrays, "set-0123")
    with pytest.raises(DataProblemError, match="label has values outside"):
        read_whole_shard(tmp_path / "s.h5", 12, 20)


def replaced(path, name, make):
    with h5py.File(path, "a") as file:
        data = file[name][()]
        del file[name]
        make(file, name, data, path)


def as_soft_link(file, name, data, path):
    file[name] = h5py.SoftLink("/image")


def as_external_link(file, name, data, path):
    shutil.copy(path, path.with_name("elsewhere.h5"))
    file[name] = h5py.ExternalLink("elsewhere.h5", name)


def as_external_data(file, name, data, path):
    path.with_name("elsewhere.bin").write_bytes(data.tobytes())
    file.create_dataset(name, data.shape, data.dtype, external=[("elsewhere.bin", 0, h5py.h5f.UNLIMITED)])


def as_virtual(file, name, data, path):
    layout = h5py.VirtualLayout(data.shape, data.dtype)
    layout[:] = h5py.VirtualSource("elsewhere.h5", name, data.shape)
    file.create_virtual_dataset(name, layout)


def as_group(file, name, data, path):
    file.create_group(name)


def as_wrong_type(file, name, data, path):
    file[name] = data.astype(np.int64)


def as_wrong_shape(file, name, data, path):
    file[name] = data[:-1]


def as_huge(file, name, data, path):
    file.create_dataset(name, (10**12,), data.dtype, chunks=(1000,))


def as_nothing(file, name, data, path):
    pass


@pytest.mark.parametrize("name", ["label", "instance"])
@pytest.mark.parametrize(
    "make",
    [
        as_soft_link,
        as_external_link,
        as_external_data,
        as_virtual,
        as_group,
        as_wrong_type,
        as_wrong_shape,
        as_huge,
        as_nothing,
    ],
)
def test_shard_with_a_wrong_field_is_refused_before_its_data_are_read(make, name, shard, monkeypatch):
    path, _ = shard
    replaced(path, name, make)
    monkeypatch.setattr("mnistref.storage.shards.read_field", lambda *_: pytest.fail("data were read"))
    with pytest.raises(DataProblemError, match=path.name):
        read_shard(path, 12, 20)


def test_shard_with_an_extra_field_is_refused(shard):
    path, _ = shard
    with h5py.File(path, "a") as file:
        file["more"] = 1
    with pytest.raises(DataProblemError, match="more"), open_shard(path, 12, 20):
        pass


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_truncated_shard_is_a_data_error(share, shard):
    path, _ = shard
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataProblemError, match=path.name):
        read_whole_shard(path, 12, 20)


def test_missing_shard_is_a_data_error(tmp_path):
    with pytest.raises(DataProblemError, match="missing"):
        read_whole_shard(tmp_path / "none.h5", 12, 20)


def test_damaged_compressed_data_are_a_data_error(shard):
    path, _ = shard
    with h5py.File(path) as file:
        offset = file["instance"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(DataProblemError, match="instance is damaged"):
        read_whole_shard(path, 12, 20)
