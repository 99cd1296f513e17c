"""The contact sheet of a data set."""

import numpy as np
import pytest
from PIL import Image

from mnistref.common.errors import UsageProblemError
from mnistref.dataset import MnistRef, read_split
from mnistref.inspection.preview import BOX, OUTLINE, contact_sheet, save_sheet


def cells(folder, images: int, boxes: bool = False):
    """Yield drawn image, magnified original, caption, mask and zoom for each cell of a sheet three cells wide."""
    sheet = np.asarray(contact_sheet(folder, images=images, boxes=boxes, columns=3))
    dataset = MnistRef(folder, "test")
    zoom = max(1, 200 // dataset.variant.canvas)
    side, gap, caption = dataset.variant.canvas * zoom, 14, 40
    top = len(sheet) - gap - -(-images // 3) * (gap + side + caption)
    assert (sheet[:top] < 100).all(axis=-1).any()  # the heading
    for k in range(images):
        x, y = gap + k % 3 * (side + gap), top + gap + k // 3 * (gap + side + caption)
        plain = np.asarray(dataset[k]["image"].permute(1, 2, 0)).repeat(zoom, 0).repeat(zoom, 1)
        mask = right_digits(folder, k, dataset[k]).repeat(zoom, 0).repeat(zoom, 1)
        below = sheet[y + side : y + side + caption, x : x + side]
        yield sheet[y : y + side, x : x + side], plain, below, mask, zoom


def right_digits(folder, index: int, sample) -> np.ndarray:
    """Return the ink of all digits that answer the question about a test image; mbgmulti has several."""
    if "labels" not in sample:
        return np.asarray(sample["mask"])
    fields = read_split(folder, "test", "instance", "digit_class")
    slots = np.flatnonzero(fields["digit_class"][index] == sample["query"])
    assert len(slots) > 1
    return np.isin(fields["instance"][index], slots + 1)


@pytest.mark.parametrize("variant", ["mbg", "mbgb", "mbginv", "mbgmulti", "mini", "mone"])
def test_preview_shows_images_with_outlined_masks(variant, make):
    for drawn, plain, caption, mask, _ in cells(make(variant), 5):
        outline = (drawn == OUTLINE).all(axis=-1)
        grown = np.pad(mask, 1)
        grown = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
        np.testing.assert_array_equal(outline, grown & ~mask)
        assert not (outline & mask).any()
        np.testing.assert_array_equal(drawn[~outline], plain[~outline])
        first, second = caption[:20], caption[20:]
        assert (first < 100).all(axis=-1).any()
        assert (second < 100).all(axis=-1).any() == (variant != "mone")  # it has no question


@pytest.mark.parametrize("variant", ["mbg", "mini"])
def test_preview_draws_boxes_at_their_positions(variant, make):
    folder = make(variant)
    boxes = read_split(folder, "test", "digit_box", "count")
    found = cells(folder, 4, boxes=True)
    for (drawn, plain, _, _, zoom), box, count in zip(found, boxes["digit_box"], boxes["count"], strict=False):
        frame = np.zeros(drawn.shape[:2], bool)
        for y0, x0, y1, x1 in box[:count].astype(int) * zoom:
            frame[y0:y1, [x0, x1 - 1]] = True
            frame[[y0, y1 - 1], x0:x1] = True
        outline = (drawn == OUTLINE).all(axis=-1)
        np.testing.assert_array_equal((drawn == BOX).all(axis=-1), frame & ~outline)
        np.testing.assert_array_equal(drawn[~(frame | outline)], plain[~(frame | outline)])


@pytest.mark.parametrize("variant", ["mbginv", "mbgmulti", "mini"])
def test_preview_leaves_the_edge_of_the_sheet_empty(variant, make):
    """No text is clipped, even with few images."""
    for images in (1, 4):
        sheet = np.asarray(contact_sheet(make(variant), images=images, boxes=True)).astype(int)
        for edge in (sheet[:8], sheet[-8:], sheet[:, :8], sheet[:, -8:]):
            assert np.ptp(edge) == 0


def test_preview_file_is_a_png(make, tmp_path):
    path = tmp_path / "new" / "folders" / "sheet.png"
    save_sheet(make("mini"), path, images=3)
    assert Image.open(path).format == "PNG"
    assert [each.name for each in path.parent.iterdir()] == ["sheet.png"]
    with pytest.raises(UsageProblemError, match=r"ends in \.png"):
        save_sheet(make("mini"), tmp_path / "sheet.jpg")


def test_preview_shows_at_most_the_images_of_the_split(make):
    few, all_of_them = (contact_sheet(make("mini"), images=n) for n in (30, 400))
    assert few.size == all_of_them.size
