"""Verification of files."""

import hashlib
import shutil
import subprocess

import h5py
import numpy as np
import pytest

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.inspection.verify import verify
from mnistref.storage.manifest import SUMS, checksums_text
from tests.helpers import long_form


@pytest.fixture
def folder(make, tmp_path):
    """Return a private copy of a small data set of mbg."""
    original = make("mbg")
    copy = tmp_path / original.name
    shutil.copytree(original, copy)
    return copy


def bad_files(folder) -> list[str]:
    return sorted(fault.file for fault in verify(folder))


def test_valid_data_set_has_no_faults(folder):
    assert verify(folder) == []
    subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=folder, check=True)


def test_every_flipped_bit_is_found_and_its_file_named(folder):
    rng = np.random.default_rng(0)
    files = sorted(f for f in folder.iterdir())
    for k in range(4 * len(files)):
        path = files[k % len(files)]
        data = bytearray(path.read_bytes())
        place = int(rng.integers(len(data)))
        data[place] ^= 1 << int(rng.integers(8))
        kept = path.read_bytes()
        path.write_bytes(data)
        assert bad_files(folder) == [path.name], place
        path.write_bytes(kept)
    assert verify(folder) == []


def test_missing_swapped_and_stray_files_are_named(folder):
    test, val = folder / "test-00000-of-00001.h5", folder / "val-00000-of-00001.h5"
    test.rename(folder / "x")
    val.rename(test)
    (folder / "x").rename(val)
    assert bad_files(folder) == [test.name, val.name]
    val.unlink()
    assert bad_files(folder) == [test.name, val.name]
    (folder / "notes.txt").write_text("mine")
    assert "notes.txt" in bad_files(folder)


@pytest.mark.parametrize("name", ["dataset.json", "SHA256SUMS", "README.md", "croissant.json"])
def test_a_missing_page_is_named(name, folder):
    (folder / name).unlink()
    assert bad_files(folder)[0] == name


def test_a_forged_shard_with_forged_sums_is_found(folder):
    """Pixels are changed, and every SHA-256 outside the manifest is updated."""
    path = folder / "train-00000-of-00001.h5"
    with h5py.File(path, "a") as file:
        file["label"][0] = (file["label"][0] + 1) % 5
    sums = {line[66:]: line[:64] for line in (folder / SUMS).read_text().splitlines()}
    sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / SUMS).write_text(checksums_text(sums))
    assert bad_files(folder) == [path.name]


def test_a_set_may_be_moved_and_renamed(folder):
    assert verify(folder.rename(folder.with_name("mine"))) == []


def test_a_shard_of_another_set_is_found(folder, make, tmp_path):
    """The shard is valid and has the same shapes, and SHA256SUMS is updated."""
    name = "train-00000-of-00001.h5"
    shutil.copy(make("mbg", seed=4) / name, folder / name)
    sums = {line[66:]: line[:64] for line in (folder / SUMS).read_text().splitlines()}
    sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / SUMS).write_text(checksums_text(sums))
    assert name in bad_files(folder)


@pytest.mark.parametrize("name", ["train-00000-of-00001.h5", "README.md", "SHA256SUMS", "dataset.json"])
def test_link_to_the_same_file_is_accepted_and_a_folder_is_not(name, folder, tmp_path):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert verify(folder) == []
    (tmp_path / name).rename(tmp_path / "gone")
    assert [(fault.file, fault.description.rpartition(": ")[2][:17]) for fault in verify(folder)] == [
        (name, "a link to nothing")
    ]
    (folder / name).unlink()
    (folder / name).mkdir()
    faults = verify(folder)
    assert [fault.file for fault in faults] == [name]
    assert "a folder, which must be moved away" in faults[0].description


@pytest.mark.parametrize(
    "name",
    long_form(["train-00000-of-00001.h5", "README.md", "SHA256SUMS", "dataset.json"], ["README.md", "dataset.json"]),
)
def test_generate_keeps_valid_links_and_names_folders_that_block_files(name, make, tmp_path):
    folder = make("mini", root=tmp_path)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert verify(make("mini", root=tmp_path)) == []
    assert (folder / name).is_symlink()
    (tmp_path / name).write_bytes(b"something else")
    assert verify(make("mini", root=tmp_path)) == []
    assert not (folder / name).is_symlink()
    assert (tmp_path / name).read_bytes() == b"something else"
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(DataProblemError, match=f"{folder.name}/{name}: a folder, which must be moved away"):
        make("mini", root=tmp_path)


def test_invalid_line_of_sha256sums_is_named_by_its_number(folder):
    (folder / "dataset.json").write_text("{")
    with open(folder / SUMS, "a") as file:
        file.write("garbage\n")
    assert [fault.file for fault in verify(folder)] == ["dataset.json", SUMS]
    lines = len((folder / SUMS).read_text().splitlines())
    assert verify(folder)[1].description == f"line {lines} is not a SHA-256 digest and a file name"


def test_verify_of_a_folder_without_a_data_set_is_a_usage_error(tmp_path):
    with pytest.raises(UsageProblemError, match="no data set here"):
        verify(tmp_path)
