"""The photo bank: scaled photos, and repair of damaged files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mnistref.common.errors import DataProblemError
from mnistref.sources.bank import find_bank, open_bank, prepare_bank
from mnistref.sources.decode import read_photo
from mnistref.sources.photos import list_photos


@pytest.mark.parametrize("canvas", [48, 100])
def test_photo_bank_holds_scaled_photos(canvas, photo_folder, tmp_path):
    photos = list_photos(str(photo_folder), tmp_path)
    bank = open_bank(prepare_bank(photos, canvas, tmp_path))
    assert bank.views == 10  # 64 views or more of 7 photos
    assert len(bank.offset) == 70
    short = np.minimum(bank.height, bank.width)
    assert short.min() >= canvas
    assert short.max() <= 2 * canvas
    assert len(set(short.tolist())) > 20
    for view in (0, 33, 69):
        source = read_photo(photos.paths[view // 10])
        height, width = bank.height[view], bank.width[view]
        assert width / height == pytest.approx(source.width / source.height, rel=0.02)
        pixels = bank.pixels[bank.offset[view] :][: height * width * 3].reshape(height, width, 3)
        expected = source.resize((width, height), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(pixels, np.asarray(expected))


def test_a_photo_that_changed_after_it_was_listed_is_refused(photo_folder, tmp_path):
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    photos = list_photos(str(folder), tmp_path)
    Image.new("RGB", (90, 80), "red").save(photos.paths[2], format="PNG")
    with pytest.raises(DataProblemError, match="the photo changed while the data set was generated; run again"):
        prepare_bank(photos, 48, tmp_path)
    assert find_bank(photos, 48, tmp_path) is None


def test_damaged_photo_bank_is_rebuilt(photo_folder, tmp_path):
    photos = list_photos(str(photo_folder), tmp_path)
    folder = prepare_bank(photos, 48, tmp_path)
    whole = (folder / "pixels.u1").read_bytes()
    (folder / "pixels.u1").write_bytes(b"\0" + whole[1:-1])
    assert prepare_bank(photos, 48, tmp_path) == folder
    assert (folder / "pixels.u1").read_bytes() == whole


def without_height(index: dict) -> str:
    return json.dumps({key: value for key, value in index.items() if key != "height"})


@pytest.mark.parametrize(
    "harm",
    [
        lambda index: json.dumps({**index, "height": [side * 50 for side in index["height"]]}),
        lambda index: json.dumps({**index, "views": "x"}),
        without_height,
        lambda _: "[]",
        lambda _: "[" * 200_000,
        lambda _: "",
    ],
    ids=["higher", "no number", "no height", "no index", "deep", "empty"],
)
def test_changed_photo_bank_index_is_never_used(harm, photo_folder, tmp_path):
    """The index addresses pixels without checks."""
    photos = list_photos(str(photo_folder), tmp_path)
    folder = prepare_bank(photos, 48, tmp_path)
    whole = (folder / "index.json").read_text()
    (folder / "index.json").write_text(harm(json.loads(whole)))
    with pytest.raises(DataProblemError, match="damaged; delete it"):
        open_bank.__wrapped__(folder)
    assert prepare_bank(photos, 48, tmp_path) == folder
    assert (folder / "index.json").read_text() == whole
