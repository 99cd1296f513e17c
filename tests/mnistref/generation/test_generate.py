"""Generation: same bytes for any workers, resumption, repair, splits, and refused requests."""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mnistref.common.atomic_files import PARTIAL
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.dataset import read_split
from mnistref.generation.generate import Request, generate, plan, request_of
from mnistref.inspection.verify import verify
from mnistref.storage.manifest import read_manifest
from mnistref.storage.schema import FIELDS
from mnistref.storage.source import SourceChoices
from mnistref.variants import VARIANTS
from tests.helpers import digests


@pytest.fixture
def small_shards(monkeypatch):
    """Use shards of 8 images, so that small data sets have several."""
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 8)


def test_workers_and_executors_give_the_same_bytes(request_for, small_shards):
    expected = digests(generate(request_for(name="one"), workers=1))
    assert len([name for name in expected if name.endswith(".h5")]) == 3 + 1 + 2
    assert digests(generate(request_for(name="three"), workers=3)) == expected
    with ThreadPoolExecutor(2) as executor:
        assert digests(generate(request_for(name="threads"), executor=executor)) == expected
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        assert digests(generate(request_for(name="processes"), executor=executor)) == expected


def test_images_do_not_depend_on_the_size_of_the_split(request_for, small_shards):
    few, many = (generate(request_for(name=str(n), sizes={"train": n, "val": 8, "test": 8})) for n in (5, 27))
    assert few.name != many.name
    a, b = read_split(few, "train", *FIELDS), read_split(many, "train", *FIELDS)
    for name in FIELDS:
        np.testing.assert_array_equal(a[name], b[name][:5])


def test_variants_with_one_seed_share_their_digits(request_for):
    black, photo = (read_split(generate(request_for(v)), "test", "instance", "digit_source") for v in ("mref", "mbg"))
    for name in black:
        np.testing.assert_array_equal(black[name], photo[name])


def test_images_of_other_seeds_and_splits_differ(request_for):
    a, b = (read_split(generate(request_for("mref", seed=s)), "train", "image")["image"] for s in (0, 1))
    assert (a != b).any(axis=(1, 2, 3)).all()
    val = read_split(generate(request_for("mref")), "val", "image")["image"]
    assert (a[:8] != val).any(axis=(1, 2, 3)).all()


def test_splits_are_disjoint_by_digit_and_photo(request_for):
    folder = generate(request_for("mdist"))
    sources = {
        s: set(read_split(folder, s, "digit_source")["digit_source"].ravel()) - {-1} for s in ("train", "val", "test")
    }
    assert max(sources["train"]) < 500 <= min(sources["val"])
    assert max(sources["val"]) < 600 <= min(sources["test"])
    folder = generate(request_for("mbg", sizes={"train": 60, "val": 30, "test": 30}))
    photos = {s: set(read_split(folder, s, "photo")["photo"].tolist()) for s in ("train", "val", "test")}
    assert photos == {"train": {0, 1, 2, 3, 4}, "val": {5}, "test": {6}}
    manifest = read_manifest(folder)
    assert len(manifest.photos) == 7


def test_pooled_splits_draw_from_all_digits_and_photos(request_for):
    sizes = {"train": 60, "val": 60, "test": 60}
    folder = generate(request_for("mbg", pool="pooled", sizes=sizes))
    for split in sizes:
        arrays = read_split(folder, split, "digit_source", "photo")
        assert set(arrays["photo"].tolist()) == set(range(7))
        sources = arrays["digit_source"][arrays["digit_source"] >= 0]
        assert sources.min() < 300
        assert sources.max() >= 600


def test_second_generation_writes_nothing(request_for):
    folder = generate(request_for())
    before = {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}
    assert generate(request_for()) == folder
    assert {f.name: f.stat().st_mtime_ns for f in folder.iterdir()} == before


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [remove, truncate, flip])
@pytest.mark.parametrize("name", ["train-00001-of-00003.h5", "dataset.json", "SHA256SUMS"])
def test_interrupted_data_set_is_completed_to_the_same_bytes(harm, name, request_for, small_shards):
    folder = generate(request_for())
    expected = digests(folder)
    harm(folder / name)
    if name != "dataset.json":
        (folder / "dataset.json").unlink()  # as after an interruption
    (folder / f"{PARTIAL}abc-train-00000-of-00003.h5").write_bytes(b"half a shard")
    assert generate(request_for()) == folder
    assert digests(folder) == expected


@pytest.mark.parametrize("harm", [remove, truncate, flip])
@pytest.mark.parametrize("name", ["train-00001-of-00003.h5", "dataset.json", "SHA256SUMS", "README.md"])
def test_damaged_data_set_is_repaired_by_the_same_command(harm, name, request_for, small_shards):
    """`verify` advises to run the command again after such damage."""
    folder = generate(request_for())
    expected = digests(folder)
    harm(folder / name)
    assert [fault.file for fault in verify(folder)] == [name]
    assert generate(request_for()) == folder
    assert digests(folder) == expected


def test_folder_with_another_data_set_is_a_mismatch(request_for):
    one, other = generate(request_for(seed=1)), generate(request_for(seed=2))
    shutil.rmtree(one)
    other.rename(one)
    with pytest.raises(MismatchProblemError, match="another data set"):
        generate(request_for(seed=1))


def test_manifest_describes_the_files(request_for):
    folder = generate(request_for("mbg"))
    content = json.loads((folder / "dataset.json").read_text())
    assert content["format_version"] == 1
    assert folder.name == f"mbg-{content['spec_id']}"
    assert list(content["colors"]) == ["green", "yellow", "white", "red", "blue"]
    assert {s: v["images"] for s, v in content["splits"].items()} == {"train": 21, "val": 8, "test": 9}
    assert len(content["photos"]) == 7
    text = "".join((folder / name).read_text() for name in ("dataset.json", "README.md", "croissant.json"))
    assert str(folder.parent) not in text
    assert "/tmp" not in text


def test_a_folder_of_digits_may_have_any_name(request_for, idx_folder, tmp_path):
    """The name may contain bytes that are not UTF-8."""
    name = os.fsdecode(os.fsencode(tmp_path) + b"/d\xff")
    shutil.copytree(idx_folder, name)
    folder = generate(request_for("mini", digits=name))
    assert read_manifest(folder).digits.name == "d\\udcff"
    assert verify(folder) == []


def test_mbgmulti_has_a_test_split_only(request_for):
    folder = generate(request_for("mbgmulti", sizes={"test": 12}))
    assert list(read_manifest(folder).splits) == ["test"]
    with pytest.raises(UsageProblemError, match="no train split: a test-only set"):
        generate(request_for("mbgmulti", sizes={"train": 12, "test": 12}))


def cut_jpeg(folder: Path) -> None:
    path = next(folder.rglob("*.jpg"))
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [0, -1])
def test_bad_sizes_are_refused_and_write_nothing(variant, size, request_for):
    with pytest.raises(UsageProblemError, match="give 1 or more"):
        generate(request_for(variant, sizes={"test": size}))
    assert not (request_for().root / "datasets").exists()


def test_bad_photo_leaves_no_partial_files(request_for, photo_folder, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    cut_jpeg(folder)
    with pytest.raises(DataProblemError, match=r"\.jpg: cannot be read"):
        generate(request_for(backgrounds=str(folder)))
    root = request_for().root
    assert not (root / "datasets").exists()
    assert not (root / "raw").exists()


def test_generate_leaves_the_global_random_state_unchanged(request_for):
    import torch

    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    generate(request_for("mbg", seed=77))
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_choices_about_photos_are_recorded_and_repeated(root, photo_folder, tmp_path):
    """With a smaller copy of a photo, and a file that is none, a data set is generated again by its own request."""
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    first = sorted(path for path in folder.rglob("*") if path.is_file())[0]
    with Image.open(first) as photo:
        photo.convert("RGB").resize((photo.width // 2, photo.height // 2)).save(folder / "small.png")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    sizes = {"train": 3, "val": 2, "test": 2}
    request = Request("mbg", root, 5, sizes, "mnist5k", str(folder), skip_bad=True, keep_copies=True)
    manifest = read_manifest(generate(request, workers=1))
    assert manifest.choices == SourceChoices(skip_bad=True, keep_copies=True)
    record = request_of(manifest)
    assert (record["skip_bad"], record["keep_copies"]) == (True, True)
    again = Request(**{**record, "digits": "mnist5k", "backgrounds": str(folder)}, root=root)
    assert plan(again).spec.folder_name == manifest.folder_name
    assert plan(replace(again, keep_copies=False)).spec.folder_name != manifest.folder_name


def test_space_is_that_of_the_disk_of_the_data_set(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda place: asked.append(Path(place)) or SimpleNamespace(free=10_000))
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "datasets").symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"\(1 MB needed, 0 MB free\)"):
        generate(Request("mini", tmp_path / "root", 0, {"train": 50, "val": 30, "test": 30}, "mnist5k"), workers=1)
    assert asked == [tmp_path / "root" / "datasets"]
