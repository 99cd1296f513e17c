"""Verification of files, and tests of the laws of data sets."""

import hashlib
import shutil
import subprocess
from dataclasses import replace

import h5py
import numpy as np
import pytest

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.generation.generate import Request, generate
from mnistref.inspection.statistics import statistics
from mnistref.inspection.verify import verify
from mnistref.metadata.card import pages
from mnistref.storage.manifest import SUMS, checksums_text, read_manifest, write_manifest
from mnistref.storage.shards import write_shard
from tests.helpers import reread


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


@pytest.mark.parametrize("name", ["train-00000-of-00001.h5", "README.md", "SHA256SUMS", "dataset.json"])
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


@pytest.fixture(scope="module")
def lawful(make):
    """Return a function that generates data sets large enough for tests of their laws."""
    sizes = {"train": 1500, "val": 600, "test": 600}

    def lawful(variant: str):
        return make(variant, sizes={"test": 1500} if variant == "mbgmulti" else sizes, seed=3)

    return lawful


@pytest.mark.parametrize("variant", ["mref", "mbginv", "mbgmulti", "mini"])
def test_generated_data_sets_fulfil_their_laws(variant, lawful):
    laws = statistics(lawful(variant))
    assert [law for law in laws if not law.holds] == []
    assert {law.split for law in laws} == {*read_manifest(lawful(variant)).splits, "all"}
    assert sum(law.p is not None for law in laws) == 3 * len(read_manifest(lawful(variant)).splits)


def skew_colors(arrays):
    arrays.digit_color[(arrays.digit_color == 3) & (np.arange(9) < 2)] = 2


def skew_classes(arrays):
    arrays.digit_class[(arrays.digit_class == 3) & (np.arange(len(arrays.count)) % 3 == 0)[:, None]] = 4


def skew_count(arrays):
    arrays.count[: len(arrays.count) // 4] = 5


def skew_scale(arrays):
    arrays.digit_scale[:, 0] = np.where(arrays.digit_scale[:, 0] > 2, 0.75, arrays.digit_scale[:, 0])


def thin_ink(arrays):
    arrays.instance[:, ::5] = 0


def push_out(arrays):
    arrays.digit_box[0, 0] += 100


def share_photos(arrays):
    arrays.digit_source[arrays.digit_source >= 0] = 7


def replace_shards(folder, written):
    """Replace shards, and update the manifest and the pages."""
    manifest = read_manifest(folder)
    splits = {s: tuple(written.get(shard.file, shard) for shard in shards) for s, shards in manifest.splits.items()}
    manifest = replace(manifest, splits=splits)
    write_manifest(folder, manifest, pages(manifest))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, digits):
    """Return a data set with enough images to test its laws."""
    sizes = {"train": 1500, "val": 1500, "test": 1500}
    return generate(Request("mref", tmp_path_factory.mktemp("unbroken"), sizes=sizes, digits="mnist5k"))


@pytest.mark.parametrize(
    ("harm", "law"),
    [
        (skew_colors, "colours"),
        (skew_classes, "classes"),
        (skew_count, "digits in an image"),
        (skew_scale, "scale 2.5"),
        (thin_ink, "ink"),
        (push_out, "inside"),
        (share_photos, "digits in two splits"),
    ],
)
def test_broken_law_is_detected(harm, law, unbroken, tmp_path):
    """The statistics are those of a data set in which one law is broken."""
    folder = shutil.copytree(unbroken, tmp_path / unbroken.name)
    written = {}
    for path in folder.glob("*-00000-of-00002.h5"):
        arrays = reread(path, 1000, 100)
        harm(arrays)
        written[path.name] = write_shard(path, arrays, folder.name)
    replace_shards(folder, written)
    assert any(law in broken.law for broken in statistics(folder) if not broken.holds)


def without_ink(arrays):
    arrays.instance[:] = 0


def test_invisible_digits_break_a_law_in_the_smallest_data_set(make, tmp_path):
    folder = make("mref", root=tmp_path, sizes={"train": 3, "val": 3, "test": 3})
    assert all(law.holds for law in statistics(folder) if "ink" in law.law)
    written = {}
    for shard in read_manifest(folder).shards:
        arrays = reread(folder / shard.file, shard.images, 100)
        without_ink(arrays)
        written[shard.file] = write_shard(folder / shard.file, arrays, folder.name)
    replace_shards(folder, written)
    assert [law.holds for law in statistics(folder) if "ink" in law.law] == [False] * 3


def contradict(arrays):
    arrays.digit_color[0] = -1


def leave_out(arrays):
    arrays.digit_class[:] = -1
    arrays.digit_color[:] = -1
    arrays.digit_source[:] = -1


def overflow(arrays):
    arrays.digit_color[0, 0] = 100


@pytest.mark.parametrize("harm", [contradict, leave_out, overflow])
def test_stats_refuses_a_forged_shard_with_matching_digests(harm, make, tmp_path):
    folder = make("mini", root=tmp_path)
    shard = read_manifest(folder).shards[0]
    arrays = reread(folder / shard.file, shard.images, 48)
    harm(arrays)
    replace_shards(folder, {shard.file: write_shard(folder / shard.file, arrays, folder.name)})
    with pytest.raises(DataProblemError, match=shard.file):
        statistics(folder)
