import numpy as np
import pytest
from PIL import Image

from mnistref.dataset import MnistRef
from mnistref.errors import UsageProblemError
from mnistref.preview import contact_sheet, save_sheet

MAGENTA = (255, 0, 255)


@pytest.mark.parametrize("variant", ["mbg", "mbgb", "mbginv", "mbgmulti", "mini"])
def test_the_sheet_shows_the_images_with_their_masks_outlined(variant, make):
    folder = make(variant)
    sheet = np.asarray(contact_sheet(folder, images=5, columns=3))
    dataset = MnistRef(folder, "test")
    canvas = dataset.variant.canvas
    zoom = max(1, 200 // canvas)
    side = canvas * zoom
    top = 3 * 18 + 14 + 14
    for k in range(5):
        x, y = 14 + k % 3 * (side + 14), top + k // 3 * (side + 18 + 14)
        cell = sheet[y : y + side, x : x + side]
        outline = (cell == MAGENTA).all(axis=-1)
        mask = np.asarray(dataset[k]["mask"]).repeat(zoom, 0).repeat(zoom, 1)
        assert outline.any()
        assert not (outline & mask).any()
        plain = np.asarray(dataset[k]["image"].permute(1, 2, 0)).repeat(zoom, 0).repeat(zoom, 1)
        np.testing.assert_array_equal(cell[~outline], plain[~outline])
        caption = sheet[y + side : y + side + 18, x : x + side]
        assert (caption < 100).any()


def test_it_is_a_png(make, tmp_path):
    save_sheet(make("mini"), tmp_path / "sheet.png", images=3)
    assert Image.open(tmp_path / "sheet.png").format == "PNG"
    with pytest.raises(UsageProblemError, match=r"ends in \.png"):
        save_sheet(make("mini"), tmp_path / "sheet.jpg")


def test_it_shows_no_more_than_there_are(make):
    few, all_of_them = (contact_sheet(make("mini"), images=n) for n in (30, 400))
    assert few.size == all_of_them.size
