"""Orientations in EXIF and XMP data, and the transpositions that make photos upright."""

import pytest
from PIL import Image

from mnistref.sources.orientation import SIDEWAYS, TURNS, image_with_metadata, orientation

XMP = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8"/>'


def exif(value: int) -> bytes:
    metadata = Image.Exif()
    metadata[0x0112] = value
    return metadata.tobytes()


@pytest.mark.parametrize(("value", "expected"), [*((k, k) for k in range(1, 9)), (0, 1), (9, 1)])
def test_orientation_outside_1_to_8_counts_as_upright(value, expected):
    assert orientation(image_with_metadata({"exif": exif(value)})) == expected


def test_orientation_is_read_from_xmp_without_readable_exif():
    assert orientation(image_with_metadata({})) == 1
    assert orientation(image_with_metadata({"xmp": XMP})) == 8
    assert orientation(image_with_metadata({"exif": b"Exif\0\0no TIFF header", "xmp": XMP})) == 8


@pytest.mark.parametrize(
    ("value", "corner"),
    [(2, (2, 0)), (3, (2, 1)), (4, (0, 1)), (5, (0, 0)), (6, (1, 0)), (7, (1, 2)), (8, (0, 2))],
)
def test_transposition_moves_the_first_pixel_to_the_corner_of_the_exif_standard(value, corner):
    image = Image.new("L", (3, 2))
    image.putpixel((0, 0), 255)
    upright = image.transpose(TURNS[value])
    assert upright.getpixel(corner) == 255
    assert upright.size == ((2, 3) if TURNS[value] in SIDEWAYS else (3, 2))
