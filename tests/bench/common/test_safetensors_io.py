import json
import struct

import pytest
import torch
from safetensors import torch as library

from bench.common import safetensors_io
from mnistref.common.errors import DataProblemError

TENSORS = {
    "weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "steps": torch.tensor(7),
    "double": torch.tensor([1.5], dtype=torch.float64),
    "half": torch.ones(5).bfloat16(),
    "none": torch.zeros(0, 3),
    "flags": torch.tensor([True, False]),
    "größe": torch.arange(3, dtype=torch.int32),
}


def same(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(a[k], b[k]) for k in a
    )


@pytest.mark.parametrize("encode", [safetensors_io.encode, safetensors_io.encode_plainly, library.save])
@pytest.mark.parametrize(
    "decode", [lambda data: safetensors_io.decode(data, "x"), safetensors_io.decode_plainly, library.load]
)
def test_safetensors_library_and_plain_code_read_each_other(encode, decode):
    assert same(decode(encode(TENSORS)), TENSORS)


def test_plain_code_replaces_a_missing_safetensors_library(monkeypatch):
    monkeypatch.setattr(safetensors_io, "library", None)
    data = safetensors_io.encode({"last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last), **TENSORS})
    assert same(library.load(data), safetensors_io.decode(data, "x"))


def header(entries: dict, body: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "empty": b"",
    "short": b"\1\0\0",
    "a pickle": b"\x80\x04\x95\x0c\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93.",
    "a zip, as torch.save writes": b"PK\x03\x04" + bytes(200),
    "a header longer than the file": struct.pack("<Q", 2**62) + b"{}",
    "no JSON": struct.pack("<Q", 3) + b"{{{",
    "not an object": header([1, 2]),
    "an unknown dtype": header({"a": entry("F7")}),
    "no offsets": header({"a": {"dtype": "F32", "shape": [2]}}),
    "offsets beyond the end": header({"a": entry(shape=(200,), offsets=(0, 800))}),
    "a shape that does not fit": header({"a": entry(shape=(3,))}),
    "a negative shape": header({"a": entry(shape=(-2, -1))}),
    "overlapping tensors": header({"a": entry(), "b": entry()}),
    "a gap": header({"a": entry(offsets=(4, 12))}, b"\0" * 12),
    "bytes left over": header({"a": entry()}, b"\0" * 9),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("with_library", [True, False])
def test_hostile_safetensors_files_are_refused_in_one_line(case, with_library, monkeypatch):
    if not with_library:
        monkeypatch.setattr(safetensors_io, "library", None)
    with pytest.raises(DataProblemError, match=r"w\.safetensors: not a safetensors file") as error:
        safetensors_io.decode(HOSTILE[case], "w.safetensors")
    assert "\n" not in str(error.value)
