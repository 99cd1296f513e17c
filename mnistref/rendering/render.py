"""Scene and pixels → image. Pure, compiled; integers only on the way to a pixel. The obvious form is `reference.py`."""

from typing import NamedTuple

import numpy as np

from mnistref.common.numba_jit import compiled
from mnistref.rendering import rng
from mnistref.rendering.resize import resize
from mnistref.rendering.scene import draw_scale, draw_scene, jitter_color, side_of
from mnistref.spec import GLYPH, PATCH

_FULL = 255 * 255


class Photos(NamedTuple):
    """The photographs of one split, each prepared in `views` sizes. P photos, V = P · views.

    A variant without photos has no `members`.
    """

    pixels: np.ndarray  # u1, flat: every view's rows of RGB, one after the other
    offset: np.ndarray  # i8 (V,): where each view begins
    height: np.ndarray  # i8 (V,)
    width: np.ndarray  # i8 (V,)
    members: np.ndarray  # i8 (n,): the split's photos
    views: int


def no_photos() -> Photos:
    """For a variant without them."""
    nothing, pixels = np.zeros(0, np.int64), np.zeros(0, np.uint8)
    pixels.flags.writeable = False  # as a bank's are: one type, compiled once
    return Photos(pixels, nothing, nothing, nothing, nothing, 1)


@compiled
def draw_images(law, glyphs, photos, tools, seed, split, first, arrays):
    """Fill `arrays` with the images `first`, `first` + 1, … of a split."""
    for row in range(arrays.count.shape[0]):
        index = first + row
        draw_scene(law, glyphs, tools, seed, split, index, arrays, row)
        rng.start(tools.stream, seed, split, index, rng.BACKGROUND)
        image = arrays.image[row]
        if photos.members.shape[0] > 0:
            arrays.photo[row] = _put_photo(photos, tools.stream, image)
        else:
            image[:] = 0
        for _ in range(law.distractors):
            _put_distractor(law, glyphs, tools, image)
        for k in range(arrays.count[row]):
            _put_digit(
                image, arrays.digit_box[row, k], arrays.digit_rgb[row, k], arrays.instance[row], k + 1, tools.alpha
            )


@compiled
def _put_photo(photos, stream, image):
    """A random crop of a random view of a random photo. → which photo."""
    photo = photos.members[rng.below(stream, photos.members.shape[0])]
    view = photo * photos.views + rng.below(stream, photos.views)
    canvas = image.shape[0]
    width, length = photos.width[view], canvas * 3
    y0 = rng.below(stream, photos.height[view] - canvas + 1)
    x0 = rng.below(stream, width - canvas + 1)
    rows = image.reshape(canvas * length)
    for y in range(canvas):
        at = photos.offset[view] + ((y0 + y) * width + x0) * 3
        _copy(rows[y * length : (y + 1) * length], photos.pixels[at : at + length])
    return photo


@compiled
def _copy(to, what):
    """`to[:] = what`, in a form that becomes a plain move of memory: 14 times faster for the rows of a 224-px image."""
    for x in range(to.shape[0]):
        to[x] = what[x]


@compiled
def _put_distractor(law, glyphs, tools, image):
    """A coloured, scaled 5 × 5 crop of a random digit, added to the canvas; sums saturate."""
    stream, rgb = tools.stream, np.empty(3, np.uint8)
    digit = glyphs.images_t[glyphs.members[rng.below(stream, glyphs.members.shape[0])]]
    top = rng.below(stream, GLYPH - PATCH + 1)
    left = rng.below(stream, GLYPH - PATCH + 1)
    tools.crop[:] = digit[left : left + PATCH, top : top + PATCH]
    side = side_of(PATCH, draw_scale(stream, law))
    color = rng.below(stream, law.colors.shape[0])
    jitter_color(stream, law, color, rgb)
    y0 = rng.below(stream, law.canvas - side + 1)
    x0 = rng.below(stream, law.canvas - side + 1)
    resize(tools.patch, tools.crop, side, tools.patch_scratch, tools.small)
    for y in range(side):
        for x in range(side):
            for channel in range(3):
                add = (np.int64(rgb[channel]) * tools.small[y, x] + 127) // 255
                image[y0 + y, x0 + x, channel] = min(image[y0 + y, x0 + x, channel] + add, 255)


@compiled
def _put_digit(image, box, rgb, instance, mark, alpha):
    """colour · α² + background · (1 − α), rounded, wherever the digit has ink."""
    red, green, blue = np.int32(rgb[0]), np.int32(rgb[1]), np.int32(rgb[2])
    for y in range(box[0], box[2]):
        for x in range(box[1], box[3]):
            if instance[y, x] == mark:
                m = np.int32(alpha[y, x])
                ink, rest = m * m, (np.int32(255) - m) * np.int32(255)
                image[y, x, 0] = (red * ink + image[y, x, 0] * rest + np.int32(_FULL // 2)) // np.int32(_FULL)
                image[y, x, 1] = (green * ink + image[y, x, 1] * rest + np.int32(_FULL // 2)) // np.int32(_FULL)
                image[y, x, 2] = (blue * ink + image[y, x, 2] * rest + np.int32(_FULL // 2)) // np.int32(_FULL)
