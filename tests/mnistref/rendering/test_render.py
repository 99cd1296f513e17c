"""The compiled renderer equals the reference, and both equal images computed from the annotations."""

import numpy as np
import pytest
from PIL import Image

from mnistref.rendering.reference import Reference
from mnistref.rendering.render import Photos, draw_images, no_photos
from mnistref.rendering.scene import Glyphs, make_law, make_tools
from mnistref.storage.schema import FIELDS, Arrays, empty, require_valid
from mnistref.variants import VARIANTS


def some_photos(canvas: int) -> Photos:
    """Return three photos in two views each, some as small as the canvas; photo 1 is not in the split."""
    rng = np.random.default_rng(3)
    height = np.array([canvas, canvas + 1, canvas + 40, 2 * canvas, canvas, canvas + 7])
    width = np.array([canvas, 3 * canvas, canvas + 3, 2 * canvas, canvas + 1, canvas])
    sizes = height * width * 3
    pixels = rng.integers(0, 256, sizes.sum(), dtype=np.uint8)
    pixels.flags.writeable = False
    return Photos(pixels, np.cumsum(sizes) - sizes, height, width, np.array([0, 2]), 2)


def photos_for(variant: str) -> Photos:
    spec = VARIANTS[variant]
    return some_photos(spec.canvas) if spec.background == "photo" else no_photos()


def compiled(variant: str, digits, members: np.ndarray, seed: int, split: int, first: int, images: int) -> Arrays:
    """Render images with the compiled renderer. `members` is sorted by class."""
    spec = VARIANTS[variant]
    start = np.searchsorted(digits.labels[members], np.arange(11))
    glyphs = Glyphs(np.ascontiguousarray(digits.images.transpose(0, 2, 1)), members, start)
    law, arrays = make_law(spec), empty(images, spec.canvas)
    draw_images(law, glyphs, photos_for(variant), make_tools(law), np.uint64(seed), split, first, arrays)
    return arrays


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("seed", "split", "first"), [(0, 0, 0), (2**62 + 5, 2, 987_654_321)])
def test_compiled_renderer_equals_the_reference_renderer(variant, seed, split, first, digits):
    images = 6 if variant == "mbgb" else 15
    members = np.random.default_rng(5).permutation(digits.splits["val"])
    members = members[np.argsort(digits.labels[members], kind="stable")]
    fast = compiled(variant, digits, members, seed, split, first, images)
    slow = empty(images, VARIANTS[variant].canvas)
    reference = Reference(VARIANTS[variant], seed, split, digits.images, digits.labels, members, photos_for(variant))
    reference.draw_images(first, slow)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)
    require_valid(fast._asdict(), images, VARIANTS[variant].canvas, variant)


def glyph_of(arrays: Arrays, row: int, slot: int, digits) -> np.ndarray:
    """Return the ink of a digit, 0 … 255, computed from its source and its box."""
    y0, _, y1, _ = arrays.digit_box[row, slot]
    image = Image.fromarray(digits.images[arrays.digit_source[row, slot]])
    return np.asarray(image.resize((y1 - y0, y1 - y0), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("variant", ["mref", "mini"])
def test_masks_and_pixels_follow_from_annotations(variant, digits):
    """On black a pixel is colour · α², and the mask is the ink. The test computes both without code of the package."""
    arrays = compiled(variant, digits, np.arange(5000), 4, 1, 0, 60)
    canvas = VARIANTS[variant].canvas
    for row in range(60):
        image, instance = np.zeros((canvas, canvas, 3)), np.zeros((canvas, canvas), np.uint8)
        for k in range(arrays.count[row]):
            y0, x0, y1, x1 = arrays.digit_box[row, k]
            ink = glyph_of(arrays, row, k, digits)
            assert digits.labels[arrays.digit_source[row, k]] == arrays.digit_class[row, k]
            instance[y0:y1, x0:x1][ink > 0] = k + 1
            image[y0:y1, x0:x1] += arrays.digit_rgb[row, k] * (ink[:, :, None] / 255) ** 2
        np.testing.assert_array_equal(arrays.instance[row], instance)
        np.testing.assert_array_equal(arrays.image[row], np.floor(image + 0.5))


def test_a_digit_is_blended_with_the_photo_below_it(digits):
    """Outside the ink the image is a crop of the stored photo; inside it is colour · α² + photo · (1 − α)."""
    arrays, photos = compiled("mbg", digits, np.arange(5000), 9, 0, 0, 20), some_photos(100)
    for row in range(20):
        outside = arrays.instance[row] == 0
        crop = find_crop(photos, arrays.photo[row], arrays.image[row], outside)
        expected = crop.astype(float)
        for k in range(arrays.count[row]):
            y0, x0, y1, x1 = arrays.digit_box[row, k]
            alpha = glyph_of(arrays, row, k, digits)[:, :, None] / 255
            at = expected[y0:y1, x0:x1]
            at[:] = np.where(alpha > 0, arrays.digit_rgb[row, k] * alpha**2 + at * (1 - alpha), at)
        np.testing.assert_array_equal(arrays.image[row], np.floor(expected + 0.5))


def find_crop(photos: Photos, photo: int, image: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return the only crop of the photo's views that equals the image outside the ink."""
    assert photo in photos.members
    canvas, found = len(image), []
    y, x = np.argwhere(outside)[0]
    for view in range(photo * photos.views, (photo + 1) * photos.views):
        height, width, start = photos.height[view], photos.width[view], photos.offset[view]
        pixels = photos.pixels[start : start + height * width * 3].reshape(height, width, 3)
        for top, left in np.argwhere((pixels == image[y, x]).all(axis=-1)) - (y, x):
            if 0 <= top <= height - canvas and 0 <= left <= width - canvas:
                crop = pixels[top : top + canvas, left : left + canvas]
                if (crop[outside] == image[outside]).all():
                    found.append(crop)
    assert len(found) == 1
    return found[0]


def test_renderer_leaves_the_global_random_state_unchanged(digits):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    compiled("mdist", digits, np.arange(5000), 1, 0, 0, 3)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
