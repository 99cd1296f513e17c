"""The manifest of a data set: names of shards, sums, sources, splits, and its text."""

import hashlib
import json
import shutil

import pytest

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.export import export
from mnistref.storage.manifest import (
    MANIFEST,
    PAGES,
    SUMS,
    checksums_text,
    expected_checksums,
    read_manifest,
    shard_names,
    write_manifest,
)


@pytest.fixture
def folder(make, tmp_path):
    """Return a private copy of a small data set with photos."""
    original = make("mbg")
    return shutil.copytree(original, tmp_path / original.name)


@pytest.mark.parametrize(
    ("images", "last"),
    [
        (1, ("test-00000-of-00001.h5", 0, 1)),
        (1000, ("test-00000-of-00001.h5", 0, 1000)),
        (1001, ("test-00001-of-00002.h5", 1000, 1)),
        (2999, ("test-00002-of-00003.h5", 2000, 999)),
    ],
)
def test_shard_names_cover_all_images_once(images, last):
    names = shard_names("test", images)
    assert names[-1] == last
    assert [first for _, first, _ in names] == list(range(0, images, 1000))
    assert sum(n for _, _, n in names) == images


def test_a_split_without_images_has_no_shards():
    assert shard_names("val", 0) == []


def test_checksums_are_sorted_by_name_as_sha256sum_reads_them():
    assert checksums_text({"b": "1" * 64, "a": "0" * 64}) == f"{'0' * 64}  a\n{'1' * 64}  b\n"
    assert checksums_text({}) == ""


def test_a_manifest_that_is_read_gives_its_own_text_and_sums(folder):
    manifest = read_manifest(folder)
    assert manifest.text() == (folder / MANIFEST).read_text(encoding="utf-8")
    assert manifest.folder_name == folder.name
    sums = expected_checksums(folder, manifest)
    assert sums == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != SUMS
    }
    assert checksums_text(sums) == (folder / SUMS).read_text(encoding="utf-8")


def test_written_pages_are_part_of_the_manifest(folder):
    manifest = read_manifest(folder)
    write_manifest(folder, manifest, {name: f"the page {name}" for name in PAGES})
    again = read_manifest(folder)
    assert again.pages == {name: hashlib.sha256(f"the page {name}".encode()).hexdigest() for name in PAGES}
    assert (again.spec, again.splits, again.content_sha256) == (manifest.spec, manifest.splits, manifest.content_sha256)


def test_an_unknown_split_is_refused_with_the_known_ones(make):
    manifest = read_manifest(make("mbgmulti"))
    manifest.require_split("test")
    with pytest.raises(UsageProblemError, match=r"has no 'train' split \(.*\): known: test"):
        manifest.require_split("train")


def test_a_folder_without_manifest_is_no_data_set(tmp_path):
    with pytest.raises(UsageProblemError, match=r"no data set here \(dataset.json is missing\)"):
        read_manifest(tmp_path)


def test_an_export_is_no_data_set(make, tmp_path):
    folder = make("mini")
    exported = export(folder, tmp_path / "png", "png")
    with pytest.raises(UsageProblemError, match=f"no shards here; this is an export of {folder.name}"):
        read_manifest(exported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("colors"), "its digest differs"),
        (lambda content: content.update(manifest_sha256="0" * 64), "its digest differs"),
    ],
    ids=["left out", "other digest"],
)
def test_a_manifest_with_another_digest_is_damaged(change, message, folder):
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataProblemError, match=rf"dataset.json: damaged \({message}\)"):
        read_manifest(folder)


def test_unknown_manifest_format_is_not_reported_as_damage(folder):
    (folder / MANIFEST).write_text('{"format_version": 2}')
    with pytest.raises(DataProblemError, match="format version 2, this program reads 1"):
        read_manifest(folder)
