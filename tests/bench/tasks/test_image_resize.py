"""Squares of images."""

import numpy as np
from PIL import Image

from bench.tasks.image_resize import square_image, square_images, square_mask


def test_the_centre_of_an_image_is_taken_without_change_if_it_has_the_size():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(square_image(Image.fromarray(pixels), 20), pixels[:, 6:26])
    np.testing.assert_array_equal(square_images(pixels[None, :, 6:26], 20)[0], pixels[:, 6:26])


def test_masks_have_zeros_and_ones_and_lie_on_the_image():
    mask = np.zeros((40, 60), bool)
    mask[8:20, 18:30] = True
    small = square_mask(mask, 10)
    pixels = np.repeat(mask[:, :, None] * np.uint8(255), 3, 2)
    assert set(np.unique(small)) == {0, 1}
    np.testing.assert_array_equal(small, square_image(Image.fromarray(pixels), 10)[:, :, 0] > 127)
