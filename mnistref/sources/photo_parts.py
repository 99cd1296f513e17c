"""Parsers of photo formats that separate pixels from metadata: one function for each format.

Each function yields the parts of a file without metadata, except a readable orientation. It raises ValueError,
struct.error or OverflowError if more than metadata is damaged. BMP and PPM are missing, because their metadata never
stop a decoder.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from PIL import ExifTags, Image

from mnistref.sources.orientation import image_with_metadata, orientation

Part = tuple[int, int] | bytes
"""A range of a file (first byte, end), or bytes that replace one."""


def _at(file: BinaryIO, start: int, size: int) -> bytes:
    """Return `size` bytes of a file; raise ValueError if the file has fewer."""
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise ValueError("the file ends")
    return data


def _jpeg_parts(file: BinaryIO, size: int) -> Iterator[Part]:
    """Yield all parts except application segments and comments.

    JFIF and Adobe segments stay, since they define the colours.
    """
    yield 0, 2
    at, info = 2, dict[str | tuple[str, str], bytes]()
    kept: list[Part] = []
    while True:
        marker = _at(file, at, 2)
        if marker[0] != 0xFF:
            raise ValueError("no marker")
        if marker[1] == 0xFF:  # padding before a marker
            at += 1
            continue
        if marker[1] == 0xDA:
            break
        end = at + 2
        if marker[1] not in (0x01, *range(0xD0, 0xD8)):
            end += struct.unpack(">H", _at(file, end, 2))[0]
        data = _at(file, at, end - at)[4:]
        if marker[1] == 0xE1 and data.startswith(b"Exif\0\0"):
            info["exif"] = info["exif"] + data[6:] if "exif" in info else data
        elif marker[1] == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            info["xmp"] = data.split(b"\0", 1)[1]
        colours = (marker[1] == 0xE0 and len(data) >= 14) or (marker[1] == 0xEE and len(data) >= 12)
        if colours or not (0xE0 <= marker[1] <= 0xEF or marker[1] == 0xFE):
            kept.append((at, end))
        at = end
    yield from (_oriented(info), *kept, (at, size))


def _oriented(info: Mapping[str | tuple[str, str], bytes]) -> bytes:
    """Return a JPEG segment with only the orientation of the metadata; empty bytes for an upright photo."""
    turn = orientation(image_with_metadata(info))
    if turn == 1:
        return b""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    data = exif.tobytes()
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def _png_parts(file: BinaryIO, size: int) -> Iterator[Part]:
    """Yield all parts except ancillary chunks outside the pixels. Transparency and an intact EXIF block stay."""
    chunks = list[tuple[bytes, int, int]]()
    at = 8
    while at + 8 <= size:
        length, name = struct.unpack(">I4s", _at(file, at, 8))
        chunks.append((name, at, at + 12 + length))
        at += 12 + length
    pixels = [k for k, (name, _, _) in enumerate(chunks) if name == b"IDAT"]
    yield 0, 8
    for k, (name, start, end) in enumerate(chunks):
        ancillary = name.isalpha() and name[:1].islower() and name.upper() not in _PNG  # and no damaged _PNG name
        among = bool(pixels) and pixels[0] < k < pixels[-1]
        sound = end > size or _has_valid_checksum(file, start, end)
        if not ancillary or among or name == b"tRNS":
            if not sound:
                raise ValueError("what holds the pixels is damaged")
            yield start, min(end, size)
        elif name == b"eXIf" and sound and end <= size:
            yield start, end


_PNG = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def _has_valid_checksum(file: BinaryIO, start: int, end: int) -> bool:
    """Return whether the checksum of a chunk is correct."""
    file.seek(start + 4)
    crc, left = 0, end - start - 8
    while left and (data := file.read(min(left, 1 << 20))):
        crc, left = zlib.crc32(data, crc), left - len(data)
    return crc == int.from_bytes(file.read(4), "big")


def _gif_parts(file: BinaryIO, size: int) -> Iterator[Part]:
    """Yield all parts except extensions before the first frame. Those that define a transparent colour stay."""
    flags = _at(file, 10, 1)[0]
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    yield 0, at
    while _at(file, at, 1) == b"!":
        label, length = _at(file, at + 1, 2)
        end = at + 2
        while step := _at(file, end, 1)[0]:
            end += 1 + step
        end += 1
        if label == 0xF9 and length == 4:
            yield at, end
        at = end
    yield at, size


def _webp_parts(file: BinaryIO, size: int) -> Iterator[Part]:
    """Yield all parts except ICC profile, XMP, unknown chunks and a truncated EXIF block."""
    if _at(file, 8, 4) != b"WEBP":
        raise ValueError("another file of this family")
    chunks = list[Part]()
    at, extended = 12, b""
    while at + 8 <= size:
        name, length = struct.unpack("<4sI", _at(file, at, 8))
        end = at + 8 + length + length % 2
        if name == b"VP8X" and length == 10:
            extended = _at(file, at, 18)
            chunks.append(extended)
        elif name in _WEBP or (name == b"EXIF" and end <= size):
            chunks.append((at, end))
        at = end
    names = [_at(file, chunk[0], 4) for chunk in chunks if isinstance(chunk, tuple)]
    if extended:
        flags = extended[8] & ~(_ICC | _XMP | (0 if b"EXIF" in names else _EXIF))
        chunks[chunks.index(extended)] = extended[:8] + bytes([flags]) + extended[9:]
    length = sum(len(chunk) if isinstance(chunk, bytes) else chunk[1] - chunk[0] for chunk in chunks)
    yield b"RIFF" + struct.pack("<I", length + 4) + b"WEBP"
    yield from ((c[0], min(c[1], size)) if isinstance(c, tuple) else c for c in chunks)


_WEBP = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_ICC, _EXIF, _XMP = 0x20, 0x08, 0x04


def _tiff_parts(file: BinaryIO, size: int) -> Iterator[Part]:
    """Yield the file with a shorter first directory: the tags of the pixel layout, and the orientation."""
    head = _at(file, 0, 8)
    order = "<" if head.startswith(b"II") else ">"
    big = head[2 if order == "<" else 3] == 43
    count, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    width = struct.calcsize(order + entry)
    start = struct.unpack(order + offset, _at(file, 8, 8) if big else head[4:])[0]
    entries = struct.unpack(order + count, _at(file, start, struct.calcsize(order + count)))[0]
    first, kept = start + struct.calcsize(order + count), list[bytes]()
    for k in range(entries):
        data = _at(file, first + k * width, width)
        tag, kind, values, _ = struct.unpack(order + entry, data)
        if tag in _TIFF or (tag == ExifTags.Base.Orientation and kind == 3 and values == 1):
            kept.append(data)
    yield 0, start
    own = struct.pack(order + count, len(kept)) + b"".join(kept) + bytes(struct.calcsize(order + offset))
    yield own
    yield start + len(own), max(size, start + len(own))


_TIFF = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325),
    *(332, 334, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
}
"""Tags that define the layout and the meaning of the pixels."""

PARTS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[BinaryIO, int], Iterator[Part]]], ...] = (
    (b"\xff\xd8\xff", _jpeg_parts),
    (b"\x89PNG\r\n\x1a\n", _png_parts),
    ((b"GIF87a", b"GIF89a"), _gif_parts),
    (b"RIFF", _webp_parts),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff_parts),
)
