"""Online images: the first equal the data set, all are reproducible, and all use the sources of the data set."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import read_split, read_triples
from mnistref.generation import online as module
from mnistref.generation.generate import Request, generate
from mnistref.generation.online import QUESTION_FIELDS, open_online_generator
from mnistref.sources.idx_files import read_idx
from mnistref.storage.manifest import read_manifest
from mnistref.storage.schema import FIELDS
from tests.conftest import write_idx

FEW = {"train": 9, "val": 8, "test": 7}


@pytest.mark.parametrize("variant", ["mini", "mdist", "mbg", "mbginv"])
def test_online_images_begin_with_the_data_set(variant, make, root, photo_folder):
    folder = make(variant)
    fresh = open_online_generator(folder, root / "raw", photos_at=str(photo_folder))
    assert fresh.images == 60
    drawn, own = fresh.draw(0, 60, *FIELDS), read_split(folder, "train", *FIELDS)
    for name in FIELDS:
        np.testing.assert_array_equal(drawn[name], own[name], err_msg=name)


@pytest.mark.parametrize("threads", [1, 3])
def test_online_images_continue_like_a_larger_data_set(threads, make, root, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 7 * 4 * 48**2)  # seven images at a time
    larger = read_split(make("mini", sizes={"train": 153, "val": 20, "test": 30}), "train", *FIELDS)
    fresh = open_online_generator(make("mini"), root / "raw")
    for first, images in ((60, 60), (1, 1), (100, 53)):
        drawn = fresh.draw(first, images, *FIELDS, threads=threads)
        for name in FIELDS:
            np.testing.assert_array_equal(drawn[name], larger[name][first : first + images], err_msg=name)


def test_only_digits_and_photos_of_the_training_split_are_drawn(make, root, digits, photo_folder):
    folder = make("mbg")
    fresh = open_online_generator(folder, root / "raw", photos_at=str(photo_folder))
    drawn = fresh.draw(10_000, 300, "digit_source", "photo")
    assert np.isin(drawn["digit_source"], [-1, *digits.splits["train"]]).all()
    own = read_split(folder, "train", "photo")["photo"]
    assert set(drawn["photo"]) <= set(fresh.job.photos) == set(own)


def test_online_images_of_a_pooled_data_set_are_pooled(make, root, digits):
    fresh = open_online_generator(make("mini", pool="pooled"), root / "raw")
    assert not np.isin(fresh.draw(500, 300, "digit_source")["digit_source"], [-1, *digits.splits["train"]]).all()


@pytest.mark.parametrize("units", ["one", "all", "author"])
def test_online_questions_are_those_of_the_data_set(units, make, root):
    folder = make("mbginv")
    fresh = open_online_generator(folder, root / "raw")
    for a, b in zip(
        fresh.triples(units, fresh.draw(0, 60, *QUESTION_FIELDS)), read_triples(folder, "train", units), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_online_generation_can_end_early(make, root):
    fresh = open_online_generator(make("mini"), root / "raw")
    calls = []

    def stopped() -> bool:
        calls.append(1)
        return len(calls) > 1

    fresh.draw(0, 10**5, "count", stopped=stopped)
    assert len(calls) == -(-(10**5) // 4340)  # `stopped` is called once per part; all parts but the first are skipped


def test_prepared_photos_need_no_files(tmp_path, photo_folder, root):
    photos = tmp_path / "photos"
    shutil.copytree(photo_folder, photos)
    request = Request("mbg", tmp_path, sizes=FEW, digits="mnist5k", backgrounds=str(photos))
    folder = generate(request, workers=1)
    shutil.rmtree(photos)
    images = open_online_generator(folder, tmp_path / "raw").draw(0, 9, "image")["image"]
    np.testing.assert_array_equal(images, read_split(folder, "train", "image")["image"])
    (bank,) = (tmp_path / "raw").glob("photos-*")
    pixels = bank / "pixels.u1"
    pixels.write_bytes(pixels.read_bytes()[:-1] + b"\0")
    with pytest.raises(UsageProblemError, match=r"made of a folder called 'photos'.*--backgrounds"):
        open_online_generator(folder, tmp_path / "raw")
    again = tmp_path / "elsewhere"
    shutil.copytree(photo_folder, again)
    changed = next(path for path in again.rglob("*.png"))
    changed.rename(changed.with_name("renamed.png"))  # photos are identified by content
    np.testing.assert_array_equal(
        open_online_generator(folder, tmp_path / "raw", photos_at=str(again)).draw(0, 9, "image")["image"], images
    )
    shutil.rmtree(bank)
    changed.with_name("renamed.png").unlink()
    with pytest.raises(DataProblemError, match=f"1 of the 7 photos .*{changed.name}"):
        open_online_generator(folder, tmp_path / "raw", photos_at=str(again))


def test_changed_digit_files_are_refused_online(tmp_path, idx_folder):
    source = tmp_path / "digits"
    shutil.copytree(idx_folder, source)
    request = Request("mini", tmp_path, sizes=FEW, digits=str(source))
    folder = generate(request, workers=1)
    with pytest.raises(UsageProblemError, match=r"made of a folder called 'digits'.*--digits"):
        open_online_generator(folder, tmp_path / "raw")
    assert open_online_generator(folder, tmp_path / "raw", str(source)).images == 9
    images = read_idx(source, "train-images-idx3-ubyte").copy()
    images[3] = 255 - images[3]
    write_idx(source / "train-images-idx3-ubyte", images)
    with pytest.raises(DataProblemError, match=r"not the digits .* SHA-256 differs"):
        open_online_generator(folder, tmp_path / "raw", str(source))


def test_online_settings_that_change_images_are_refused(make, root, monkeypatch):
    folder = make("mini")
    shift = module.draw
    monkeypatch.setattr(module, "draw", lambda job: shift(replace(job, seed=job.seed + 1)))
    with pytest.raises(DataProblemError, match="other images than it holds"):
        open_online_generator(folder, root / "raw")


def test_online_refuses_another_law_version_missing_numba_and_missing_training_split(make, root, monkeypatch):
    with pytest.raises(UsageProblemError, match="no 'train' split"):
        open_online_generator(make("mbgmulti"), root / "raw")
    folder = make("mini")
    made = read_manifest(folder)
    older = replace(made, spec={**made.spec, "law_version": 0})
    monkeypatch.setattr(module, "read_manifest", lambda folder: older)
    with pytest.raises(DataProblemError, match="version 0 of the law"):
        open_online_generator(folder, root / "raw")
    monkeypatch.setattr(module, "COMPILED", False)
    with pytest.raises(UsageProblemError, match="pip install numba"):
        open_online_generator(folder, root / "raw")
