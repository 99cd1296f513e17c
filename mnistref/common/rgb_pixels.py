"""Any image of Pillow as 8-bit RGB."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

_STRIP_PIXELS = 1 << 20  # converted at a time, which bounds the memory of intermediate images
_MOST_OF_12_BITS = (1 << 12) - 1


class UnfitImageError(ValueError):
    """An image that cannot be used; the message has the reason and the advice."""


def is_rgb(image: Image.Image) -> bool:
    """Return whether an image has 8-bit RGB pixels without transparency."""
    return image.mode == "RGB" and not image.has_transparency_data


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image as 8-bit RGB: 16-bit values by their range, floats by their maximum, transparency on black.

    Raises:
        UnfitImageError: the image has 32-bit integers, 16-bit integers of which none needs more than 12 bits, or values
            that are NaN or infinite.
    """
    if is_rgb(image):
        return image
    to_bytes = _to_bytes(image)
    photo = Image.new("RGB", image.size)
    for strip, top in _strips(image):
        strip = to_bytes(strip)
        if strip.has_transparency_data:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, (0, 0, 0, 255)), strip)
        photo.paste(strip.convert("RGB"), (0, top))
    return photo


def _strips(image: Image.Image) -> Iterator[tuple[Image.Image, int]]:
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height))), top


def _to_bytes(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return a function that scales a strip to 8 bits: 16-bit values by their range, floats by their maximum."""
    if not image.mode.startswith(("I", "F")):
        return lambda strip: strip
    if image.mode == "I" and image.format not in (
        "PNG",
        "PPM",
    ):  # Pillow opens PNG and PPM files of 16 bits in mode I too
        raise UnfitImageError("pixels of 32 bits have no defined white; save it with 8 or 16 bits, or remove it")
    top = 65535.0
    most = np.array([np.asarray(strip).max() for strip, _ in _strips(image)])
    if image.mode == "F":
        least = np.array([np.asarray(strip).min() for strip, _ in _strips(image)])
        if not np.isfinite([most, least]).all():
            raise UnfitImageError("some pixels are NaN or infinite; mend or remove it")
        top = max(float(most.max()), 1e-12)
    elif 0 < most.max() <= _MOST_OF_12_BITS:
        raise UnfitImageError(
            f"its largest 16-bit value is {most.max()}, so that it would be nearly black; multiply the values until "
            "white is 65535, or save it with 8 bits, or remove it"
        )

    def scaled(strip: Image.Image) -> Image.Image:
        values = np.asarray(strip, np.float64)
        return Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))

    return scaled
