"""Compression of records as .xz files. Pure."""

import lzma

from mnistref.common.errors import DataProblemError

SUFFIX = ".xz"
MAX_UNPACKED_BYTES = 1 << 30
"""Maximal size of the content of a file, so that a small damaged file cannot fill the memory."""
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 1, "pb": 1}]
"""Most numbers in answers have two bytes. `lp` and `pb` give the two bytes separate statistics."""


def pack(data: bytes) -> bytes:
    """Return the bytes of an .xz file."""
    return lzma.compress(data, check=lzma.CHECK_CRC32, filters=_FILTERS)


def unpack(data: bytes, name: str) -> bytes:
    """Return the content of an .xz file.

    Args:
        data: the bytes of the file.
        name: the name of the file in an error message.

    Raises:
        DataProblemError: the bytes are not one complete .xz file, or the content is larger than `MAX_UNPACKED_BYTES`.
    """
    reader = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    try:
        content = reader.decompress(data, MAX_UNPACKED_BYTES + 1)
    except lzma.LZMAError as error:
        raise DataProblemError(f"{name}: not a whole .xz file ({error}); restore it") from error
    if len(content) > MAX_UNPACKED_BYTES:
        raise DataProblemError(f"{name}: holds more than {MAX_UNPACKED_BYTES:,} bytes; restore it")
    if not reader.eof or reader.unused_data:
        raise DataProblemError(f"{name}: not a whole .xz file; restore it")
    return content
