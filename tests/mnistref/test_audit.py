import hashlib
import shutil
import subprocess
from dataclasses import replace

import h5py
import numpy as np
import pytest

from mnistref.audit import statistics, verify
from mnistref.card import pages
from mnistref.errors import UsageProblemError
from mnistref.generate import Request, generate
from mnistref.manifest import SUMS, read_manifest, sums_text, write_manifest
from mnistref.shards import write_shard
from tests.helpers import reread


@pytest.fixture
def folder(make, tmp_path):
    """A small mbg set of its own."""
    original = make("mbg")
    copy = tmp_path / original.name
    shutil.copytree(original, copy)
    return copy


def bad_files(folder) -> list[str]:
    return sorted(fault.file for fault in verify(folder))


def test_a_sound_set_has_no_faults(folder):
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
    """Pixels changed, and every SHA-256 outside the manifest made to fit."""
    path = folder / "train-00000-of-00001.h5"
    with h5py.File(path, "a") as file:
        file["label"][0] = (file["label"][0] + 1) % 5
    sums = {line[66:]: line[:64] for line in (folder / SUMS).read_text().splitlines()}
    sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / SUMS).write_text(sums_text(sums))
    assert bad_files(folder) == [path.name]


def test_a_set_may_be_moved_and_renamed(folder):
    assert verify(folder.rename(folder.with_name("mine"))) == []


def test_a_shard_of_another_set_is_found(folder, make, tmp_path):
    """A sound shard of the same form, with SHA256SUMS made to fit."""
    name = "train-00000-of-00001.h5"
    shutil.copy(make("mbg", seed=4) / name, folder / name)
    sums = {line[66:]: line[:64] for line in (folder / SUMS).read_text().splitlines()}
    sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / SUMS).write_text(sums_text(sums))
    assert name in bad_files(folder)


def test_a_folder_that_is_no_set_is_a_usage_error(tmp_path):
    with pytest.raises(UsageProblemError, match="no data set here"):
        verify(tmp_path)


@pytest.fixture(scope="module")
def lawful(make):
    """Sets large enough for tests of their laws."""
    sizes = {"train": 1500, "val": 600, "test": 600}

    def lawful(variant: str):
        return make(variant, sizes={"test": 1500} if variant == "mbgmulti" else sizes, seed=3)

    return lawful


@pytest.mark.parametrize("variant", ["mref", "mbginv", "mbgmulti", "mini"])
def test_the_laws_hold_on_a_generated_set(variant, lawful):
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
def test_a_broken_law_shows(harm, law, tmp_path, digits):
    """The same statistics on a set in which one law was broken."""
    request = Request("mref", tmp_path, sizes={"train": 1500, "val": 1500, "test": 1500}, digits="mnist5k")
    folder = generate(request)
    written = {}
    for path in folder.glob("*-00000-of-00002.h5"):
        arrays = reread(path, 1000, 100)
        harm(arrays)
        written[path.name] = write_shard(path, arrays, folder.name)
    manifest = read_manifest(folder)
    splits = {s: tuple(written.get(shard.file, shard) for shard in shards) for s, shards in manifest.splits.items()}
    write_manifest(folder, replace(manifest, splits=splits), pages(manifest))
    assert any(law in broken.law for broken in statistics(folder) if not broken.holds)
