"""`verify` finds every flipped bit, truncation, swapped file and missing file, and names the file."""

import shutil

import numpy as np
import pytest

from mnistref.inspection.verify import verify


@pytest.fixture
def folder(few, small_shards, tmp_path):
    """Return a copy of a valid data set, which tests may damage."""
    return shutil.copytree(few, tmp_path / few.name)


def bad_files(folder) -> list[str]:
    return sorted({fault.file for fault in verify(folder)})


def flip(data: bytes, rng) -> bytes:
    changed = bytearray(data)
    changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(data: bytes, rng) -> bytes:
    return data[: int(rng.integers(len(data)))]


def test_any_damage_to_one_file_is_found_and_named(rounds, folder):
    """Damage all files in turn, with five flipped bits per truncation."""
    rng = np.random.default_rng(0)
    files = sorted(folder.iterdir())
    assert bad_files(folder) == []
    for k in range(60 * rounds):
        path = files[k % len(files)]
        kept = path.read_bytes()
        path.write_bytes((cut if k % 6 == 5 else flip)(kept, rng))
        assert bad_files(folder) == [path.name], k
        path.write_bytes(kept)
    assert bad_files(folder) == []


def test_swapped_shards_are_found_and_named(rounds, folder):
    rng = np.random.default_rng(1)
    shards = sorted(folder.glob("*.h5"))
    for _ in range(2 * rounds):
        one, other = (shards[int(k)] for k in rng.choice(len(shards), 2, replace=False))
        swap(one, other)
        assert bad_files(folder) == sorted([one.name, other.name])
        swap(one, other)
    assert bad_files(folder) == []


def swap(one, other) -> None:
    between = one.with_name("x")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def test_missing_files_are_found_and_named(folder):
    for path in sorted(folder.iterdir()):
        kept = path.read_bytes()
        path.unlink()
        assert bad_files(folder) == [path.name]
        path.write_bytes(kept)
    assert bad_files(folder) == []
