"""Chunks of HDF5 fields, decoded without HDF5."""

import h5py
import numpy as np
import pytest

from mnistref.common.errors import DataProblemError
from mnistref.storage.chunks import decode_chunk, find_chunks

VALUES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)


def write(path, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("mask", data=VALUES, **options)
    with h5py.File(path, "r") as file:
        return find_chunks(file, "mask")


def test_found_chunks_decode_to_the_images(tmp_path):
    path = tmp_path / "a.h5"
    chunks = write(path, chunks=(2, 2, 3), compression="gzip")
    assert chunks.shape == (2, 2, 3)
    assert len(chunks.places) == 3
    content = np.fromfile(path, np.uint8)
    for number, images in ((0, 2), (1, 1), (2, 1)):
        found = decode_chunk(content, chunks, number, images, path)
        np.testing.assert_array_equal(found, VALUES[2 * number : 2 * number + images])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2, 2, 3)},
        {"chunks": (2, 2, 3), "compression": "lzf"},
        {"chunks": (2, 2, 3), "compression": "gzip", "shuffle": True},
        {"chunks": (2, 1, 3), "compression": "gzip"},
    ],
    ids=["contiguous", "uncompressed", "lzf", "shuffled", "parts of images"],
)
def test_other_layouts_of_chunks_are_not_supported(options, tmp_path):
    assert write(tmp_path / "a.h5", **options) is None


def test_overwritten_chunk_is_a_data_error(tmp_path):
    path = tmp_path / "a.h5"
    chunks = write(path, chunks=(2, 2, 3), compression="gzip")
    content = np.fromfile(path, np.uint8)
    offset, size = chunks.places[0]
    content[offset : offset + size] = 0
    with pytest.raises(DataProblemError, match=r"a\.h5: a mask is damaged"):
        decode_chunk(content, chunks, 0, 2, path)
