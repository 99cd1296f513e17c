"""Readable reference of the sampling law and the renderer: NumPy, Pillow, floats, one image at a time. Pure.

`scene.py` and `render.py` must give the same bytes. Without numba, this renderer replaces them and is 20 to 60 times
slower. The law is specified by `spec.VariantSpec`, the card of the data set, and the steps below.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from mnistref.queries import eligible
from mnistref.rendering import rng
from mnistref.rendering.render import Photos
from mnistref.rendering.rng import Stream
from mnistref.rendering.scene import MAX_RESTARTS, MAX_TRIES, SCALE_STEPS
from mnistref.scales import SCALE_BITS, scale_units
from mnistref.spec import CLASSES, COLORS, GLYPH, PATCH, VariantSpec
from mnistref.storage.schema import Arrays

REFERENCE_RGB = np.array(list(COLORS.values()))


@dataclass
class Digit:
    """One digit of an image. `source` is its index in the digit source, `box` its square as y0, x0, y1, x1."""

    cls: int
    color: int
    rgb: np.ndarray
    source: int
    scale: float = 0.0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Reference:
    """The images of one split.

    Attributes:
        variant: the sampling law.
        seed: seed of the data set.
        split: number of the split.
        digits: images of the digit source, u1 (M, 28, 28).
        labels: their classes, (M,).
        members: indices of the digits of the split, (n,), sorted by class.
        photos: photos of the split.
        restarts: restarts of the placement of an image before it counts as impossible.
    """

    variant: VariantSpec
    seed: int
    split: int
    digits: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    photos: Photos
    restarts: int = MAX_RESTARTS

    def draw_images(self, first: int, arrays: Arrays) -> int:
        """Fill `arrays` with the images `first`, `first` + 1, …, and return what `render.draw_images` does."""
        for row in range(len(arrays.count)):
            if not self._draw_image(first + row, arrays, row):
                return first + row
        return -1

    @cached_property
    def by_class(self) -> list[np.ndarray]:
        """Indices of the digits of the split, for each class."""
        return [self.members[self.labels[self.members] == cls] for cls in range(CLASSES)]

    def stream(self, index: int, purpose: int) -> Stream:
        """Return the random stream of an image for one purpose."""
        return Stream(self.seed, self.split, index, purpose)

    def _draw_image(self, index: int, arrays: Arrays, row: int) -> bool:
        """Fill the fields of an image; return False if its digits cannot be placed."""
        digits = self._draw_digits(index)
        placed = self._place_digits(index, digits)
        if placed is None:
            return False
        alpha, arrays.instance[row] = placed
        image, arrays.photo[row] = self._background(index)
        for k, digit in enumerate(digits):
            y0, x0, y1, x1 = digit.box
            a = np.where(arrays.instance[row, y0:y1, x0:x1] == k + 1, alpha[y0:y1, x0:x1], 0)[:, :, None] / 255
            image[y0:y1, x0:x1] = np.rint(digit.rgb * a**2 + image[y0:y1, x0:x1] * (1 - a))
            arrays.digit_class[row, k], arrays.digit_color[row, k] = digit.cls, digit.color
            arrays.digit_scale[row, k], arrays.digit_box[row, k] = digit.scale, digit.box
            arrays.digit_rgb[row, k], arrays.digit_source[row, k] = digit.rgb, digit.source
        arrays.image[row] = image
        arrays.count[row] = len(digits)
        fit = eligible(self.variant, arrays.digit_class[row : row + 1], arrays.digit_color[row : row + 1])
        slots = np.flatnonzero(fit[0])
        slot = slots[self.stream(index, rng.QUERY).below(len(slots))]
        query, label = digits[slot].cls, digits[slot].color
        if self.variant.query == "color":
            query, label = label, query
        if not self.variant.asks:
            query, label = 0, digits[slot].cls
        arrays.query_slot[row], arrays.query[row], arrays.label[row] = slot, query, label
        arrays.scale[row] = digits[slot].scale
        return True

    def _draw_digits(self, index: int) -> list[Digit]:
        classes = self._draw_classes(index)
        colors = self._draw_colors(index, classes)
        jitters, glyphs = self.stream(index, rng.JITTER), self.stream(index, rng.GLYPHS)
        digits = []
        for cls, color in zip(classes, colors, strict=True):
            among = self.by_class[cls]
            digits.append(Digit(cls, color, self._jittered(jitters, color), among[glyphs.below(len(among))]))
        return digits

    def _draw_classes(self, index: int) -> list[int]:
        stream = self.stream(index, rng.CLASSES)
        (low, high), (least, most) = self.variant.digits, self.variant.repeats
        n = low + stream.below(high - low + 1)
        order = list(range(CLASSES))
        for k in range(n):
            j = k + stream.below(CLASSES - k)
            order[k], order[j] = order[j], order[k]
        if most == 1:
            return order[:n]
        times = least + stream.below(most - least + 1)
        classes = [order[0]] * times + order[1 : n - times + 1]
        for k in range(n):
            j = k + stream.below(n - k)
            classes[k], classes[j] = classes[j], classes[k]
        return classes

    def _draw_colors(self, index: int, classes: list[int]) -> list[int]:
        stream = self.stream(index, rng.COLORS)
        while True:
            colors = [stream.below(len(COLORS)) for _ in classes]
            of_repeated = [o for o, c in zip(colors, classes, strict=True) if classes.count(c) > 1]
            if self.variant.query == "color":
                fit = any(colors.count(o) == 1 for o in colors)
            else:
                fit = len(set(of_repeated)) == len(of_repeated)
            if fit:
                return colors

    def _jittered(self, stream: Stream, color: int) -> np.ndarray:
        noise = stream.normal(rng.normal_thresholds(self.variant.jitter))
        rgb: np.ndarray = np.clip(REFERENCE_RGB[color] + noise, 0, 255)
        return rgb

    def _draw_scale(self, stream: Stream) -> float:
        low, high = (scale_units(s) / 2**SCALE_BITS for s in self.variant.scales)
        step = (high - low) * stream.below(SCALE_STEPS) / SCALE_STEPS
        return float(low + np.floor(step * 2**SCALE_BITS) / 2**SCALE_BITS)

    def _place_digits(self, index: int, digits: list[Digit]) -> tuple[np.ndarray, np.ndarray] | None:
        """Place the digits, and return alpha and the instance map, u1 (H, W) each; None if they cannot be placed."""
        stream, canvas = self.stream(index, rng.PLACEMENT), self.variant.canvas
        alpha, instance = np.zeros((2, canvas, canvas), np.uint8)
        k = tries = restarts = 0
        while k < len(digits):
            if tries == MAX_TRIES:
                if restarts == self.restarts:
                    return None
                alpha[:], instance[:], k, tries, restarts = 0, 0, 0, 0, restarts + 1
            scale = self._draw_scale(stream)
            side = int(GLYPH * scale)
            y0, x0 = stream.below(canvas - side + 1), stream.below(canvas - side + 1)
            at = slice(y0, y0 + side), slice(x0, x0 + side)
            tries += 1
            if alpha[at].any():
                continue
            digits[k].scale, digits[k].box = scale, (y0, x0, y0 + side, x0 + side)
            alpha[at] = resized(self.digits[digits[k].source], side)
            instance[at] = np.where(alpha[at] > 0, k + 1, instance[at])
            k, tries = k + 1, 0
        return alpha, instance

    def _background(self, index: int) -> tuple[np.ndarray, int]:
        """Return the background, float (H, W, 3), and the index of its photo (−1 without a photo)."""
        stream, canvas = self.stream(index, rng.BACKGROUND), self.variant.canvas
        image, photo = np.zeros((canvas, canvas, 3)), -1
        if self.variant.background == "photo":
            image, photo = self._crop_photo(stream)
        for _ in range(self.variant.distractors):
            self._add_distractor(stream, image)
        return image, photo

    def _crop_photo(self, stream: Stream) -> tuple[np.ndarray, int]:
        """Return a random crop of a random photo, float (H, W, 3), and the index of the photo."""
        canvas = self.variant.canvas
        photo = int(self.photos.members[stream.below(len(self.photos.members))])
        view = photo * self.photos.views + stream.below(self.photos.views)
        start, height, width = (int(a[view]) for a in (self.photos.offset, self.photos.height, self.photos.width))
        pixels = self.photos.pixels[start : start + height * width * 3].reshape(height, width, 3)
        y0, x0 = stream.below(height - canvas + 1), stream.below(width - canvas + 1)
        return pixels[y0 : y0 + canvas, x0 : x0 + canvas].astype(float), photo

    def _add_distractor(self, stream: Stream, image: np.ndarray) -> None:
        digit = self.digits[self.members[stream.below(len(self.members))]]
        top, left = stream.below(GLYPH - PATCH + 1), stream.below(GLYPH - PATCH + 1)
        side = int(PATCH * self._draw_scale(stream))
        rgb = self._jittered(stream, stream.below(len(COLORS)))
        y0, x0 = stream.below(self.variant.canvas - side + 1), stream.below(self.variant.canvas - side + 1)
        m = resized(digit[top : top + PATCH, left : left + PATCH], side)
        at = slice(y0, y0 + side), slice(x0, x0 + side)
        image[at] = np.minimum(image[at] + np.rint(rgb * (m[:, :, None] / 255)), 255)


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """Resize a square u1 image to side × side, bilinearly, with Pillow."""
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
