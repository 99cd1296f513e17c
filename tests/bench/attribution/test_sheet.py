"""Sheets of maps."""

import torch

from bench.attribution.sheet import OUTLINE, draw_sheet


def test_a_sheet_has_a_row_of_images_and_a_row_for_each_method():
    images = torch.full((2, 3, 40, 40), 0.5)
    target = torch.zeros(2, 40, 40, dtype=torch.bool)
    target[:, 10:20, 10:20] = True
    maps = {"one": torch.zeros(2, 40, 40), "two": target.float() * 7}
    sheet = draw_sheet(images, target, maps, 20)
    assert sheet.shape == (60, 40, 3)
    assert sheet[0, 0].tolist() == [128, 128, 128]
    for row in range(3):
        assert sheet[20 * row + 4, 6].tolist() == list(OUTLINE)  # above the target
        assert sheet[20 * row + 4, 26].tolist() == list(OUTLINE)
    assert sheet[27, 7].tolist() == [0, 0, 0]
    assert sheet[47, 7].tolist() == [255, 255, 255]  # a map is scaled to its maximum
    assert sheet[57, 17].tolist() == [0, 0, 0]


def test_a_map_that_is_zero_everywhere_is_black():
    target = torch.zeros(1, 8, 8, dtype=torch.bool)
    sheet = draw_sheet(torch.ones(1, 3, 8, 8), target, {"none": torch.zeros(1, 8, 8)}, tile=16)
    assert sheet.shape == (32, 16, 3)
    assert (sheet[:16] == 255).all()
    assert (sheet[16:] == 0).all()
