"""Any image of Pillow as 8-bit RGB. The decoder's tests have files of each format."""

import numpy as np
import pytest
from PIL import Image

from mnistref.common.rgb_pixels import UnfitImageError, is_rgb, to_rgb


def test_an_image_of_8_bit_rgb_is_returned_as_it_is():
    image = Image.new("RGB", (5, 3), (1, 2, 3))
    assert is_rgb(image)
    assert to_rgb(image) is image


@pytest.mark.parametrize("rows", [1, 7])
def test_an_image_is_converted_in_strips(rows, monkeypatch):
    monkeypatch.setattr("mnistref.common.rgb_pixels._STRIP_PIXELS", 11 * rows)
    values = np.arange(20 * 11, dtype=np.uint16).reshape(20, 11) * 297
    found = np.asarray(to_rgb(Image.fromarray(values)))
    np.testing.assert_array_equal(found, np.round(values / 257).astype(np.uint8)[..., None].repeat(3, 2))


def test_transparent_pixels_are_black():
    image = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    image.putpixel((1, 0), (200, 100, 50, 0))
    assert not is_rgb(image)
    assert np.asarray(to_rgb(image)).tolist() == [[[200, 100, 50], [0, 0, 0]]]


def test_black_and_dark_images_of_16_bits_are_images():
    assert np.asarray(to_rgb(Image.fromarray(np.zeros((2, 2), np.uint16)))).max() == 0
    assert np.asarray(to_rgb(Image.fromarray(np.full((2, 2), 4096, np.uint16)))).max() == 16


@pytest.mark.parametrize("highest", [1, 1023, 4095])
def test_an_image_of_12_bits_stored_as_16_is_refused_with_advice(highest):
    values = np.zeros((7, 5), np.uint16)
    values[6, 4] = highest
    with pytest.raises(UnfitImageError, match=f"largest 16-bit value is {highest}, .*white is 65535"):
        to_rgb(Image.fromarray(values))


@pytest.mark.parametrize("values", [np.full((2, 2), np.nan, np.float32), np.full((2, 2), 9, np.int32)])
def test_values_without_a_defined_white_are_refused(values):
    with pytest.raises(UnfitImageError):
        to_rgb(Image.fromarray(values))
