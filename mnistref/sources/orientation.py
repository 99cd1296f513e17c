"""Orientation of a photo from its EXIF or XMP data. Unreadable data are ignored."""

from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

from mnistref.sources.thread_pool import StoppedError

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → transposition that makes the photo upright."""
SIDEWAYS = {turn for number, turn in TURNS.items() if number >= 5}
"""Transpositions that swap width and height."""


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image; 1 (upright) if it cannot be read or is invalid."""
    source = (
        image if hasattr(image, "tag_v2") else image_with_metadata(image.info)
    )  # a TIFF, whose tags are its metadata
    try:
        value = source.getexif().get(ExifTags.Base.Orientation, 1)
        return int(value) if value in TURNS else 1
    except (StoppedError, MemoryError):
        raise
    except Exception:  # the EXIF parser raises any exception; XMP may have the value
        left = {key: value for key, value in image.info.items() if key in _XMP_KEYS}
        return orientation(image_with_metadata(left)) if len(left) < len(image.info) else 1


_XMP_KEYS = ("xmp", "XML:com.adobe.xmp")


def image_with_metadata(info: Mapping[Any, Any]) -> Image.Image:
    """Return an image without pixels that has these metadata."""
    image = Image.Image()
    image.info.update(info)
    return image
