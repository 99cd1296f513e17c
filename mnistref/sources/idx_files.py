"""Reading of IDX files: they are found by the start of their names and decompressed by their content."""

import bz2
import gzip
import hashlib
import io
import lzma
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mnistref.common.errors import DataProblemError
from mnistref.common.text_table import escaped

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_PLACES = ((), ("raw",), ("mnist", "raw"))
"""Subfolders that may hold the files, as torchvision stores them."""
_NAME = re.compile(r"(train|t10k|test)-(images|labels)(-idx\d)?(-[a-z]+\d*)?")
_PACKED = re.compile(r"(\.(gz|gzip|z|bz2|xz|lzma|zip|zst|7z|rar|tar|tgz))+$")
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DAMAGED = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_MAX_NESTING = 8
_MAX_NAMES = 8


def find_idx_folder(folder: Path) -> Path:
    """Return the folder that holds most of the four files: `folder`, its raw, or its MNIST/raw."""
    places = list(_candidate_folders(folder))
    return max(places, key=lambda place: sum(find_file(place, file) is not None for file in FILES))


def _candidate_folders(folder: Path) -> Iterator[Path]:
    for names in _PLACES:
        place: Path | None = folder
        for name in names:
            place = (
                next((p for p in _list_folder(place) if p.name.lower() == name and p.is_dir()), None) if place else None
            )
        if place:
            yield place


def _list_folder(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if not entry.name.startswith("."))


FileState = tuple[str, int, int]
"""Path, time of the last change in ns, and size in bytes of a file."""


def find_file_states(folder: Path) -> tuple[FileState, ...]:
    """Return the states of those of the four files that there are. They differ after a change of a file."""
    place = find_idx_folder(folder)
    paths = [path for file in FILES if (path := find_file(place, file)) is not None]
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)


def is_complete(folder: Path) -> bool:
    """Return whether a folder has all four files."""
    return folder.is_dir() and all(find_file(folder, file) for file in FILES)


def find_file(folder: Path, file: str) -> Path | None:
    """Return the file for one of `FILES`, with any suffix; exact names before packed ones. None if it is missing.

    It may be in a subfolder of the same name.
    """
    found = []
    for path in _list_folder(folder):
        if _parse_name(path.name) == _parse_name(file):
            found += (
                [p for p in _list_folder(path) if _parse_name(p.name) == _parse_name(file)] if path.is_dir() else [path]
            )
    files = [path for path in found if path.is_file()]
    return min(files, key=lambda path: (path.name != file, len(path.suffixes), str(path)), default=None)


def _parse_name(name: str) -> tuple[str, str] | None:
    """Return the part (train, t10k) and the content (images, labels) that a file name means, or None."""
    stem = _PACKED.sub("", re.sub(r"\s*\(\d+\)", "", name.lower()))
    match = _NAME.fullmatch(re.sub(r"[._ ]", "-", stem))
    return ("train" if match[1] == "train" else "t10k", match[2]) if match else None


def read_idx(folder: Path, file: str, check: dict[str, str] | None = None) -> np.ndarray:
    """Read one of `FILES` as u1, in the shape of its header.

    Args:
        folder: the folder of the files.
        file: one of `FILES`.
        check: file name → expected SHA-256 of the unpacked file.

    Raises:
        DataProblemError: the file is missing, damaged, not IDX, or has values outside 0 … 255.
    """
    path = find_file(folder, file) if folder.is_dir() else None
    if path is None:
        raise DataProblemError(
            f"{folder}: no {file}, plain or packed; an IDX folder has {', '.join(FILES)}; "
            f"this one {_describe_folder(folder)}"
        )
    data = _unpacked(path, path.read_bytes())
    if check and hashlib.sha256(data).hexdigest() != check[file]:
        raise DataProblemError(f"{path}: not the original file (its SHA-256 differs); delete it and run again")
    return _bytes(path, _parse_idx(path, data))


def _describe_folder(folder: Path) -> str:
    """Return the content of a folder, for a message."""
    names = [_described(path) for path in _list_folder(folder)] if folder.is_dir() else []
    more = f" … ({len(names)})" if len(names) > _MAX_NAMES else ""
    return f"has {', '.join(names[:_MAX_NAMES])}{more}" if names else "is empty"


def _described(path: Path) -> str:
    kind = "/" if path.is_dir() else " (unpack it)" if _PACKED.search(path.name.lower()) else ""
    return escaped(path.name) + kind


def _unpacked(path: Path, data: bytes) -> bytes:
    """Return the data after all layers of compression."""
    for _ in range(_MAX_NESTING):
        for magic, kind, unpack in _PACKERS:
            if data.startswith(magic):
                try:
                    data = unpack(path, data)
                except _DAMAGED as error:
                    raise DataProblemError(
                        f"{path}: not an IDX file but a damaged {kind} file ({error}); fetch it again"
                    ) from error
                break
        else:
            return data
    raise DataProblemError(f"{path}: packed more than {_MAX_NESTING} times; unpack it")


def _from_zip(path: Path, data: bytes) -> bytes:
    """Return the only file of an archive, or the one with the archive's name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
        named = [name for name in names if _parse_name(Path(name).name) == _parse_name(path.name)]
        if len(names) != 1 and len(named) != 1:
            raise DataProblemError(f"{path}: a zip archive of {len(names)} files; unpack it")
        try:
            return archive.read(names[0] if len(names) == 1 else named[0])
        except RuntimeError as error:  # encrypted, or an unknown compression
            raise DataProblemError(f"{path}: a zip archive that cannot be read ({error}); unpack it") from error


_PACKERS: tuple[tuple[bytes, str, Callable[[Path, bytes], bytes]], ...] = (
    (b"\x1f\x8b", "gzip", lambda _, data: gzip.decompress(data)),
    (b"BZh", "bzip2", lambda _, data: bz2.decompress(data)),
    (b"\xfd7zXZ\0", "xz", lambda _, data: lzma.decompress(data)),
    (b"PK\x03\x04", "zip", _from_zip),
)
_OTHERS = (
    (b"\x28\xb5\x2f\xfd", "a Zstandard file; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"\x1f\x9d", "a file packed by compress; unpack it"),
    (b"\x93NUMPY", "a NumPy array; save it as IDX"),
    (b"\x89HDF", "an HDF5 file; save its arrays as IDX"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself (git lfs pull)"),
)


def _parse_idx(path: Path, data: bytes) -> np.ndarray:
    """Return the array of an IDX file, of any of its types."""
    dims = data[3] if len(data) >= 4 else 0
    if data[:2] != b"\0\0" or len(data) < 4 or data[2] not in _TYPES or not 1 <= dims <= 4 or len(data) < 4 + 4 * dims:
        raise DataProblemError(f"{path}: not an IDX file but {_describe_content(data)}")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", dims, 4))
    dtype, held = np.dtype(_TYPES[data[2]]), len(data) - 4 - 4 * dims
    if held != math.prod(shape) * dtype.itemsize:
        each = f" of {dtype.itemsize} bytes each" if dtype.itemsize > 1 else ""
        raise DataProblemError(f"{path}: the header says {shape}{each}, the file holds {held} bytes; fetch it again")
    return np.frombuffer(data, dtype, offset=4 + 4 * dims).reshape(shape)


def _describe_content(data: bytes) -> str:
    """Return what a file is that is not IDX, and what to do."""
    for magic, what in _OTHERS:
        if data.startswith(magic):
            return what
    if data[257:262] == b"ustar":
        return "a tar archive; unpack it"
    if b"<html" in data[:1000].lower() or b"<!doctype" in data[:1000].lower():
        return "a web page; fetch the file itself"
    if len(data) < 20 and b"\0\0".startswith(data[:2]):
        return "the beginning of one; fetch it again"
    return f"something that begins with {data[:12]!r}; give another --digits"


def _bytes(path: Path, values: np.ndarray) -> np.ndarray:
    """Return the same values as bytes; raise DataProblemError unless they are integers from 0 to 255."""
    if values.dtype.itemsize == 1 and values.dtype.kind == "u":
        return values.view(np.uint8)
    if not values.size:
        return values.astype(np.uint8)
    least, most = values.min(), values.max()
    whole = values.dtype.kind == "i" or bool(np.isfinite(values).all() and (values == np.rint(values)).all())
    if not whole and least >= 0 and most <= 1:
        raise DataProblemError(f"{path}: the values are 0 … 1 and must be 0 … 255; multiply them by 255")
    if not whole or not (least >= 0 and most <= 255):
        raise DataProblemError(f"{path}: the values are {least:g} … {most:g} and must be whole numbers from 0 to 255")
    return values.astype(np.uint8)
