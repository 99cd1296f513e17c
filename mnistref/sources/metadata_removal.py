"""Removal of metadata from a photo file that Pillow refuses. The pixels and the orientation stay.

Such files have intact pixels, but a damaged profile, comment or EXIF block.
"""

import io
import os
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

from mnistref.sources.photo_parts import PARTS, Part


def without_metadata(file: BinaryIO) -> BinaryIO | None:
    """Return the photo without metadata, except a readable orientation; None if there is nothing to remove.

    `file` stays open and is read through the result, so that it need not be in memory.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    for magic, parts_of in PARTS:
        if head.startswith(magic):
            try:
                parts = list(parts_of(file, size))
            except (struct.error, OverflowError, ValueError):  # damaged beyond its metadata
                return None
            whole = [(0, size)]
            return None if _joined(parts) == whole else io.BufferedReader(_Parts(file, parts))
    return None


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Return the same parts, with consecutive ranges merged."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else b""
        if isinstance(part, tuple) and isinstance(last, tuple) and part[0] == last[1]:
            joined[-1] = (last[0], part[1])
        else:
            joined.append(part)
    return joined


class _Parts(io.RawIOBase):
    """Parts of a file, concatenated, as a readable file."""

    def __init__(self, file: BinaryIO, parts: Sequence[Part]) -> None:
        self._file, self._parts, self._at = file, parts, 0
        self._ends, end = [], 0
        for part in parts:
            end += len(part) if isinstance(part, bytes) else part[1] - part[0]
            self._ends.append(end)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ends[-1]}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer, and return the number of bytes."""
        for part, end in zip(self._parts, self._ends, strict=True):
            if self._at < end:
                wanted = min(len(buffer), end - self._at)
                data = self._read(part, end, wanted)
                buffer[: len(data)] = data
                self._at += len(data)
                return len(data)
        return 0

    def _read(self, part: Part, end: int, wanted: int) -> bytes:
        if isinstance(part, bytes):
            start = self._at - (end - len(part))
            return part[start : start + wanted]
        self._file.seek(part[1] - (end - self._at))
        return self._file.read(wanted)
