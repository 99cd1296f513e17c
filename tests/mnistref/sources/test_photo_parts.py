"""Parts of photo files: metadata are left out, and pixels and orientation stay."""

import io
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import ExifTags, Image

from mnistref.sources.photo_parts import PARTS, Part

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((21, 15))
TEXT = "a note of the photographer"
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{TEXT}</x:xmpmeta>'.encode()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[ExifTags.Base.Orientation], block[ExifTags.Base.Make] = orientation, TEXT
    return block


OPTIONS = {
    "JPEG": {"comment": TEXT.encode(), "quality": 95},
    "PNG": {"dpi": (72, 72)},
    "GIF": {"comment": TEXT.encode()},
    "WEBP": {"lossless": True, "xmp": XMP},
    "TIFF": {"description": TEXT},
}
"""Options that add metadata, for each format."""


def saved(form: str, **options) -> bytes:
    file = io.BytesIO()
    (PHOTO.quantize(64) if form == "GIF" else PHOTO).save(file, form, **OPTIONS[form], **options)
    return file.getvalue()


def parts_of(data: bytes) -> Iterator[Part]:
    """Return the parts of a file, as the parser of its format yields them."""
    parse = next(parse for magic, parse in PARTS if data.startswith(magic))
    return parse(io.BytesIO(data), len(data))


def joined(data: bytes) -> bytes:
    return b"".join(part if isinstance(part, bytes) else data[slice(*part)] for part in parts_of(data))


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("form", OPTIONS)
def test_joined_parts_have_the_same_pixels(form):
    data = saved(form)
    np.testing.assert_array_equal(pixels(joined(data)), pixels(data))


@pytest.mark.parametrize("form", ["JPEG", "GIF", "WEBP"])
def test_joined_parts_have_no_text(form):
    assert TEXT.encode() in saved(form)
    assert TEXT.encode() not in joined(saved(form))


@pytest.mark.parametrize("form", OPTIONS)
def test_joined_parts_have_no_metadata_left(form):
    with Image.open(io.BytesIO(joined(saved(form)))) as image:
        assert not {"comment", "xmp", "exif", "icc_profile"} & image.info.keys()
        assert TEXT not in str(image.getexif())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_of_a_photo_stays_in_its_parts(form, orientation):
    with Image.open(io.BytesIO(joined(saved(form, exif=exif(orientation))))) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == orientation


def test_jpeg_keeps_only_the_orientation_of_its_exif_block():
    with Image.open(io.BytesIO(joined(saved("JPEG", exif=exif(8))))) as image:
        assert dict(image.getexif()) == {ExifTags.Base.Orientation: 8}
    with Image.open(io.BytesIO(joined(saved("JPEG", exif=exif(1))))) as image:
        assert dict(image.getexif()) == {}


@pytest.mark.parametrize(
    "data",
    [
        saved("JPEG")[:30],
        saved("PNG")[:8] + struct.pack(">I4s", 3, b"IDAT") + b"abc" + b"\0\0\0\0",
        saved("GIF")[:12],
        b"RIFF\4\0\0\0WAVE",
        saved("TIFF")[:6],
    ],
    ids=OPTIONS,
)
def test_damage_of_more_than_metadata_raises(data):
    with pytest.raises((ValueError, struct.error, OverflowError)):
        list(parts_of(data))


def test_every_format_starts_with_bytes_of_its_own():
    starts: list[bytes] = []
    for magic, _ in PARTS:
        starts += magic if isinstance(magic, tuple) else [magic]
    assert len({*starts}) == len(starts) == 9
