"""Photos with damaged or absurd metadata are read as if they had no metadata."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from mnistref.common.errors import DataProblemError
from mnistref.sources.decode import read_photo
from tests.helpers import TOP

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((56, 40))
PIXELS = np.asarray(PHOTO)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1"/></x:xmpmeta>'
BOMB = zlib.compress(bytes(2 << 20))
"""Compressed data that unpack to more than Pillow allows for a text or a profile."""
IRB = b"Photoshop 3.0\0"


def exif(orientation: int = 6) -> bytes:
    block = Image.Exif()
    block[0x0112], block[0x010F], block[0x0132] = orientation, "Maker" * 5, "2020:01:01 00:00:00"
    block.get_ifd(0x8769).update({0x9003: "2020:01:01 00:00:00", 0x927C: b"note" * 8})
    block.get_ifd(0x8825)[1] = "N"
    return block.tobytes()


def saved(form: str, image: Image.Image = PHOTO, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def upright(data: bytes) -> np.ndarray:
    """Return the upright RGB pixels of a valid file, decoded by Pillow alone."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def read(data: bytes, folder: Path) -> np.ndarray:
    (folder / "photo").write_bytes(data)
    return np.asarray(read_photo(folder / "photo"))


def chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) if crc is None else crc)
    )


def png(before: bytes = b"", behind: bytes = b"", image: Image.Image = PHOTO, **options) -> bytes:
    """Return a PNG with additional chunks before and after its pixels."""
    data = saved("PNG", image, **options)
    first, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    return data[:first] + before + data[first:end] + behind + data[end:]


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


JPEG = saved("JPEG", quality=95)


def jpeg(*segments: bytes, whole: bytes = JPEG) -> bytes:
    return whole[:2] + b"".join(segments) + whole[2:]


PNGS = {
    "a text that unpacks to 2 MB": png(chunk(b"zTXt", b"k\0\0" + BOMB)),
    "a profile that unpacks to 2 MB": png(chunk(b"iCCP", b"k\0\0" + BOMB)),
    "70 MB of text": png(b"".join(chunk(b"zTXt", b"%d\0\0" % k + zlib.compress(bytes(1 << 20))) for k in range(70))),
    "a profile packed in an unknown way": png(chunk(b"iCCP", b"k\0\7" + BOMB)),
    "an empty profile": png(chunk(b"iCCP", b"")),
    "a wrong checksum of a text": png(chunk(b"tEXt", b"k\0v", 5)),
    "a wrong checksum behind the pixels": png(b"", chunk(b"zTXt", b"k\0\7v", 5)),
    "an EXIF block that is no TIFF": png(chunk(b"eXIf", b"\x00\x08\x00\x02\x01\x12\x00\x03")),
    "an EXIF block with a wrong checksum": png(chunk(b"eXIf", exif()[6:], 5)),
    "an EXIF block behind the pixels that is no TIFF": png(b"", chunk(b"eXIf", b"\1")),
    "hexadecimal EXIF that is none": png(chunk(b"tEXt", b"Raw profile type exif\0\n\n\nxyz")),
    "an animation that is none": png(chunk(b"acTL", struct.pack(">II", 3, 0)) + chunk(b"fcTL", bytes(26))),
    "cut off in the text behind the pixels": png(b"", chunk(b"tEXt", b"k\0" + bytes(500)))[:-300],
    **{f"a short {name}": png(chunk(name.encode(), b"\1")) for name in ("gAMA", "cHRM", "pHYs", "acTL", "fcTL")},
    **{f"a short {name} behind": png(b"", chunk(name.encode(), b"\1")) for name in ("gAMA", "cHRM", "pHYs")},
    "no dots per inch": png(chunk(b"pHYs", bytes(9))),
}


@pytest.mark.parametrize("what", PNGS)
def test_png_metadata_are_ignored(what, tmp_path):
    np.testing.assert_array_equal(read(PNGS[what], tmp_path), PIXELS)


def test_transparency_and_orientation_of_a_png_with_damaged_text_are_kept(tmp_path):
    broken = chunk(b"tEXt", b"k\0v", 5)
    palette = PHOTO.quantize(16)
    seen = np.where(np.asarray(palette)[..., None] == 3, 0, np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(read(png(broken, image=palette, transparency=3), tmp_path), seen)
    turned = chunk(b"eXIf", exif(6)[6:])
    np.testing.assert_array_equal(read(png(turned + broken), tmp_path), np.rot90(PIXELS, 3))
    np.testing.assert_array_equal(read(png(broken, turned), tmp_path), np.rot90(PIXELS, 3))


SEGMENTS = {
    "Photoshop's block ends after its code": segment(0xED, IRB + b"8BIM\4\4"),
    "Photoshop's block ends in its code": segment(0xED, IRB + b"8BIM\4"),
    "no index of pictures": segment(0xE2, b"MPF\0"),
    "an odd index of pictures": segment(0xE2, b"MPF\0MM\0*junkjunkjunk"),
    "a short JFIF header": segment(0xE0, b"JFIF"),
    "a short Adobe header": segment(0xEE, b"Adobe"),
    "a profile without a number": segment(0xE2, b"ICC_PROFILE\0"),
    "an EXIF block of nothing": segment(0xE1, b"Exif\0\0"),
    "an empty comment": segment(0xFE, b""),
    "no dots per inch": segment(0xE0, b"JFIF\0\1\1\1\0\0\0\0\0\0"),
}


@pytest.mark.parametrize("what", SEGMENTS)
@pytest.mark.parametrize("whole", ["baseline", "progressive", "CMYK"])
def test_jpeg_metadata_except_orientation_are_ignored(what, whole, tmp_path):
    image = PHOTO.convert("CMYK") if whole == "CMYK" else PHOTO
    data = saved("JPEG", image, quality=95, progressive=whole == "progressive")
    seen = upright(data)
    np.testing.assert_array_equal(read(jpeg(SEGMENTS[what], whole=data), tmp_path), seen)
    turned = jpeg(segment(0xE1, exif(8)), SEGMENTS[what], whole=data)
    np.testing.assert_array_equal(read(turned, tmp_path), np.rot90(seen))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_despite_a_damaged_block(orientation, tmp_path):
    sound = jpeg(segment(0xE1, exif(orientation)))
    damaged = jpeg(segment(0xE1, exif(orientation)), SEGMENTS["Photoshop's block ends after its code"])
    np.testing.assert_array_equal(read(damaged, tmp_path), upright(sound))
    np.testing.assert_array_equal(read(sound, tmp_path), upright(sound))


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_absurd_orientation_is_ignored(orientation, tmp_path):
    entry = struct.Struct("<HHIHH") if exif()[6:8] == b"II" else struct.Struct(">HHIHH")
    block = exif(6).replace(entry.pack(0x0112, 3, 1, 6, 0), entry.pack(0x0112, 3, 1, orientation, 0))
    assert block != exif(6)
    for data, pixels in (
        (jpeg(segment(0xE1, block)), upright(JPEG)),
        (png(chunk(b"eXIf", block[6:])), PIXELS),
        (saved("WEBP", lossless=True, exif=block), PIXELS),
    ):
        np.testing.assert_array_equal(read(data, tmp_path), pixels)


def test_xmp_orientation_is_used_if_exif_is_unreadable(tmp_path):
    xmp = XMP.replace(b'"1"', b'"8"')
    sides = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp), segment(0xE1, b"Exif\0\0no TIFF at all")
    np.testing.assert_array_equal(read(jpeg(*sides), tmp_path), np.rot90(upright(JPEG)))


def test_exif_text_in_place_of_a_length_does_not_prevent_rotation(tmp_path):
    """Pillow raises a struct.error when it rewrites such a block for a rotated photo."""
    entries = struct.pack("<HHI4s", 257, 2, 4, b"abc\0") + struct.pack("<HHII", 274, 3, 1, 6)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    np.testing.assert_array_equal(read(jpeg(segment(0xE1, block)), tmp_path), np.rot90(upright(JPEG), 3))


def test_multi_picture_index_is_ignored(tmp_path):
    data = saved("MPO", save_all=True, append_images=[PHOTO.rotate(90)], quality=95)
    seen, start = upright(data), data.index(b"MPF\0")
    for k in range(4, 90):
        damaged = bytearray(data)
        damaged[start + k] ^= 0x55
        np.testing.assert_array_equal(read(bytes(damaged), tmp_path), seen)


def test_webp_needs_only_the_chunks_with_pixels(tmp_path):
    data = saved("WEBP", lossless=True, exif=exif(6), icc_profile=ICC, xmp=XMP)
    turned, start = np.rot90(PIXELS, 3), data.index(b"EXIF")
    for wrong, pixels in (
        (data[:-20], turned),  # in the middle of XMP
        (data[: start + 20], PIXELS),
        (data[:start], PIXELS),
        (data[:4] + struct.pack("<I", len(data) + 1000) + data[8:], turned),
        (data.replace(b"EXIF", b"EXIX"), PIXELS),
    ):
        np.testing.assert_array_equal(read(wrong, tmp_path), pixels)
    with pytest.raises(DataProblemError, match="cannot be read as an image"):
        read(data[: start - 200], tmp_path)


@pytest.mark.parametrize(("compression", "big"), [(None, False), (None, True), ("tiff_lzw", False), ("jpeg", False)])
def test_tiff_tags_without_pixels_are_ignored(compression, big, tmp_path):
    text = "a description of a certain length"
    data = saved("TIFF", compression=compression, big_tiff=big, tiffinfo={274: 6}, description=text)
    seen = read(data, tmp_path)
    number = "<HHQQ" if big else "<HHII"
    entry = data.index(struct.pack(number[:-1], 270, 2, len(text) + 1))
    for tag in (
        (270, 2, len(text) + 1, 2**31 - 1),  # an offset beyond the end of the file
        (700, 4, 1, 9),  # XMP given as a number
        (282, 2, 1, 65),  # a resolution given as text
        (282, 5, 1, 2**31 - 1),
        (34665, 4, 1, 2**31 - 1),  # an EXIF directory that does not exist
        (34377, 2, 1, 65),
        (306, 12, 1, 3),
    ):
        damaged = bytearray(data)
        damaged[entry : entry + struct.calcsize(number)] = struct.pack(number, *tag)
        np.testing.assert_array_equal(read(bytes(damaged), tmp_path), seen)


def test_gif_extensions_are_ignored(tmp_path):
    data = saved("GIF", PHOTO.quantize(64), comment=b"c" * 99)
    seen, start = upright(data), data.index(b"\x21\xfe")
    for extension in (b"\x21\xff\0", b"\x21\xf9\1\1\0", b"\x21\xf9\0", b"\x21\x01\x01a\0", b"\x21\x55\x02ab\0"):
        np.testing.assert_array_equal(read(data[:start] + extension + data[start:], tmp_path), seen)
    np.testing.assert_array_equal(read(data[:-1], tmp_path), seen)


def test_bmp_sizes_and_resolutions_and_ppm_comments_are_ignored(tmp_path):
    data = bytearray(saved("BMP"))
    data[2:6] = data[34:38] = data[38:42] = data[42:46] = b"\xff" * 4
    np.testing.assert_array_equal(read(bytes(data), tmp_path), PIXELS)
    ppm = saved("PPM")
    np.testing.assert_array_equal(read(b"P6\n# \xff\xfe\0 9 9 255\n" + ppm[3:], tmp_path), PIXELS)


def payloads(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the first byte and the end of each block of metadata of a photo."""
    at = 2 if data.startswith(b"\xff\xd8") else 8 if data.startswith(b"\x89PNG") else 12
    while at < len(data):
        if data.startswith(b"\xff\xd8"):
            if data[at + 1] == 0xDA:
                return
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if 0xE1 <= data[at + 1] <= 0xEF or data[at + 1] == 0xFE:
                yield at + 4, end
        elif data.startswith(b"\x89PNG"):
            end = at + 12 + int.from_bytes(data[at : at + 4], "big")
            if data[at + 4 : at + 5].islower():
                yield at + 8, end  # includes the checksum
        else:
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] in (b"EXIF", b"XMP ", b"ICCP"):
                yield at + 8, end
            end += end % 2
        at = end


TEXTS = PngImagePlugin.PngInfo()
TEXTS.add_text("Title", "a photo" * 9, zip=True)
TEXTS.add_itxt("XML:com.adobe.xmp", XMP.decode())
SOUND = {
    "jpeg": jpeg(
        segment(0xED, IRB + b"8BIM\4\4\0\0\0\0\0\4abcd"), segment(0xE2, b"MPF\0" + bytes(40)), segment(0xE1, exif())
    ),
    "png": saved("PNG", exif=exif(), icc_profile=ICC, pnginfo=TEXTS, dpi=(72, 72)),
    "webp": saved("WEBP", lossless=True, exif=exif(), icc_profile=ICC, xmp=XMP),
}
PLACES = {form: [k for start, end in payloads(data) for k in range(start, end)] for form, data in SOUND.items()}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_photo_with_damaged_metadata_is_readable(tmp_path_factory, data):
    form = data.draw(st.sampled_from(sorted(SOUND)))
    damaged = bytearray(SOUND[form])
    start = data.draw(st.sampled_from(PLACES[form]))
    for k, byte in enumerate(data.draw(st.binary(min_size=1, max_size=30))):
        if start + k in PLACES[form]:
            damaged[start + k] = byte
    seen = read(bytes(damaged), tmp_path_factory.getbasetemp())
    pixels = PIXELS if form != "jpeg" else upright(JPEG)
    turns = [
        np.rot90(side, k) for side in (pixels, pixels[:, ::-1]) for k in range(4)
    ]  # the damage may give another orientation
    assert any(np.array_equal(seen, turn) for turn in turns)


def test_damaged_pixels_are_an_error_despite_damaged_metadata(tmp_path):
    broken = chunk(b"tEXt", b"k\0v", 5)
    for flip in range(8):
        data = bytearray(png(broken))
        data[data.index(b"IDAT") + 60 * flip + 8] ^= 1 << flip
        with pytest.raises(DataProblemError, match="cannot be read as an image"):
            read(bytes(data), tmp_path)
    for data in (
        jpeg(SEGMENTS["Photoshop's block ends after its code"])[:-500],
        png(broken)[:-300],
        png(broken).replace(b"IDAT", b"iDAT"),
        png(broken)[:60],
    ):
        with pytest.raises(DataProblemError, match="cannot be read as an image"):
            read(data, tmp_path)


HEARD = """
import sys
from pathlib import Path
from mnistref.sources.photos import list_photos
list_photos(sys.argv[1], Path(sys.argv[2]), skip_bad=True)
"""


def test_odd_metadata_print_nothing(tmp_path):
    """Neither libtiff, which prints to stderr, nor the log of Pillow prints a message."""
    (tmp_path / "photos").mkdir()
    data = saved("TIFF", compression="tiff_lzw", tiffinfo={274: 6})
    entry = data.index(struct.pack("<HHI", 274, 3, 1))
    odd = data[: entry + 8] + struct.pack("<HH", 9999, 0) + data[entry + 12 :]
    (tmp_path / "photos" / "odd.tif").write_bytes(odd)
    samples = data.index(struct.pack("<HHIH", 277, 3, 1, 3))
    many = data[: samples + 8] + struct.pack("<HH", 9999, 0) + data[samples + 12 :]
    (tmp_path / "photos" / "many.tif").write_bytes(many)
    command = [sys.executable, "-c", HEARD, str(tmp_path / "photos"), str(tmp_path / "raw")]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stderr == ""
