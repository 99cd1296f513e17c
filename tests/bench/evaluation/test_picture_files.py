"""Small copies of pictures for stored boards."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from bench.evaluation import picture_files
from tests.bench.report.helpers import draw_pictures

N = 6


@pytest.fixture
def pictures(tmp_path):
    draw_pictures(tmp_path, canvas=224, n=N)
    return tmp_path / "pictures"


def size(folder) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_small_copy_of_pictures_is_small_and_similar(pictures, tmp_path):
    assert size(pictures) > 4 * picture_files.SMALL_BYTES
    picture_files.copy_small(pictures, tmp_path / "a" / "small")
    small = tmp_path / "a" / "small"
    assert size(small) <= picture_files.SMALL_BYTES
    assert picture_files.read_questions(small) == picture_files.read_questions(pictures)
    for name, mode, correlation in (("images.png", "RGB", 0.8), ("maps.png", "L", 0.99), ("targets.png", "L", 0.9)):
        before, after = (
            np.asarray(picture_files.read_sheet(folder, name, N, mode, 112), dtype=float)
            for folder in (pictures, small)
        )
        assert before.shape == after.shape == (112, N * 112, 3)[: before.ndim]
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > correlation


def test_small_copy_of_a_small_copy_is_identical(pictures, tmp_path):
    for target, source in (("b", pictures), ("c", tmp_path / "b")):
        picture_files.copy_small(source, tmp_path / target)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("b", "c"))
    assert first == second
    assert len(first) == 4


def test_pictures_without_maps_or_ink_are_copied(pictures, tmp_path):
    for name in ("maps.png", "targets.png"):
        (pictures / name).unlink()
    picture_files.copy_small(pictures, tmp_path / "small")
    assert {path.name for path in (tmp_path / "small").iterdir()} == {"images.webp", "pictures.json"}


@pytest.mark.parametrize("harm", ["no questions", "no images", "damaged questions", "damaged images", "other images"])
def test_damaged_pictures_are_not_copied(harm, pictures, tmp_path, caplog):
    if harm == "no questions":
        (pictures / "pictures.json").unlink()
    elif harm == "no images":
        (pictures / "images.png").unlink()
    elif harm == "damaged questions":
        (pictures / "pictures.json").write_text(json.dumps([{"query": 1}]))
    elif harm == "damaged images":
        (pictures / "images.png").write_bytes(b"no png")
    else:
        Image.new("RGB", (30, 20)).save(pictures / "images.png")
    with caplog.at_level(logging.WARNING):
        picture_files.copy_small(pictures, tmp_path / "small")
    assert not (tmp_path / "small").exists()
    assert bool(caplog.records) is not harm.startswith("no ")


def test_pictures_that_cannot_be_small_enough_are_not_copied(pictures, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(picture_files, "SMALL_BYTES", 3000)
    picture_files.copy_small(pictures, tmp_path / "small")
    assert not (tmp_path / "small").exists()
    assert "3000 bytes are too few" in caplog.text
