"""Bytes ↔ .xz, for records that are kept for long. Pure."""

import lzma

from mnistref.common.errors import DataProblemError

SUFFIX = ".xz"
MOST = 1 << 30
"""Bytes that a packed file may hold: a small damaged one must not fill the memory."""
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 1, "pb": 1}]
"""Most numbers of an answer are of two bytes: `lp` and `pb` let the first and the second ones share no statistics."""


def pack(data: bytes) -> bytes:
    """Return the bytes of an .xz file."""
    return lzma.compress(data, check=lzma.CHECK_CRC32, filters=_FILTERS)


def unpack(data: bytes, name: str) -> bytes:
    """Return what an .xz file holds; a data error that begins with `name` where it is none, or holds too much."""
    reader = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    try:
        content = reader.decompress(data, MOST + 1)
    except lzma.LZMAError as error:
        raise DataProblemError(f"{name}: not a whole .xz file ({error}); restore it") from error
    if len(content) > MOST:
        raise DataProblemError(f"{name}: holds more than {MOST:,} bytes; restore it")
    if not reader.eof or reader.unused_data:
        raise DataProblemError(f"{name}: not a whole .xz file; restore it")
    return content
