"""Compression of records as .xz files."""

import lzma

import pytest

from bench.common import packing
from mnistref.common.errors import DataProblemError

CONTENT = b"answers" * 100


def test_packed_bytes_are_an_xz_file():
    data = packing.pack(CONTENT)
    assert packing.unpack(data, "a.xz") == lzma.decompress(data, lzma.FORMAT_XZ) == CONTENT
    assert len(data) < len(CONTENT)


@pytest.mark.parametrize(
    "data",
    [b"", b"plain", packing.pack(CONTENT)[:-1], packing.pack(CONTENT) + b"\0"],
    ids=["empty", "not packed", "incomplete", "one more byte"],
)
def test_incomplete_xz_files_and_additional_bytes_are_data_errors(data):
    with pytest.raises(DataProblemError, match=r"a\.xz: not a whole \.xz file"):
        packing.unpack(data, "a.xz")


def test_content_larger_than_the_limit_is_a_data_error(monkeypatch):
    data = packing.pack(CONTENT)
    monkeypatch.setattr(packing, "MAX_UNPACKED_BYTES", len(CONTENT))
    assert packing.unpack(data, "a.xz") == CONTENT
    monkeypatch.setattr(packing, "MAX_UNPACKED_BYTES", len(CONTENT) - 1)
    with pytest.raises(DataProblemError, match=r"a\.xz: holds more than 699 bytes"):
        packing.unpack(data, "a.xz")
