"""Shards on disk: HDF5 files that are written atomically and checked before their data are read.

A shard is built in memory, hashed, written under a temporary name, flushed and renamed. If HDF5 wrote in place, a
killed process could leave files that open normally and read as zeros. Readers refuse external, virtual and linked data
sets, and any shape, type or name that is not in the format, before they read data.
"""

import errno
import hashlib
import io
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import h5py
import numpy as np

from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError
from mnistref.storage.schema import FIELDS, Arrays, require_layout, require_valid

_PACKED_IMAGES = 10  # images per chunk of a packed field
_GZIP = 1


class ShardRecord(TypedDict):
    """A `ShardInfo` as a JSON object."""

    file: str
    images: int
    bytes: int
    sha256: str
    content_sha256: str


@dataclass(frozen=True)
class ShardInfo:
    """The manifest's entry for a shard. `content_sha256` is `content_digest`, the other fields describe the file."""

    file: str
    images: int
    bytes: int
    sha256: str
    content_sha256: str

    def as_dict(self) -> ShardRecord:
        """Return the JSON object of the shard."""
        return {
            "file": self.file,
            "images": self.images,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "content_sha256": self.content_sha256,
        }


def content_digest(arrays: Arrays) -> str:
    """Return the SHA-256 of the decoded arrays: name, dtype, shape and bytes of each field, independent of HDF5."""
    digest = hashlib.sha256()
    for name, array in zip(FIELDS, arrays, strict=True):
        digest.update(f"{name} {FIELDS[name].dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_shard(path: Path, arrays: Arrays, dataset: str) -> ShardInfo:
    """Write one shard atomically.

    Args:
        path: the shard file.
        arrays: all fields.
        dataset: name of the data set, which is stored in the file.
    """
    content = content_digest(arrays)
    pieces = _encode(arrays, {"shard": f"{dataset}/{path.name}", "content_sha256": content})
    write_whole(path, *pieces)
    return _make_info(path, pieces, len(arrays.count), content)


def read_shard_info(path: Path, images: int, canvas: int, dataset: str) -> ShardInfo:
    """Read a whole shard and return the entry that the manifest should have.

    Raises:
        DataProblemError: the shard is damaged, or its label differs from its name or content.
    """
    content = content_digest(read_whole_shard(path, images, canvas))
    with open_shard(path, images, canvas) as file:
        label = {key: file.attrs.get(key) for key in ("shard", "content_sha256")}
    if label != {"shard": f"{dataset}/{path.name}", "content_sha256": content}:
        raise DataProblemError(f"{path}: its content is not what its label says; run generate again")
    return _make_info(path, [path.read_bytes()], images, content)


def _make_info(path: Path, pieces: Iterable[bytes | memoryview], images: int, content: str) -> ShardInfo:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return ShardInfo(path.name, images, size, digest.hexdigest(), content)


def _encode(arrays: Arrays, labels: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return the pieces of the HDF5 file. They depend only on the arrays and the versions of HDF5 and zlib."""
    memory = _MemoryFile(arrays.image)
    with h5py.File(memory, "w", libver=("v108", "v108")) as file:
        for name, array in zip(FIELDS, arrays, strict=True):
            if FIELDS[name].packed:
                _write_packed(file, name, array)
            else:
                file.create_dataset(name, data=array)
        file.attrs.update(labels)
    return memory.pieces()


def _write_packed(file: h5py.File, name: str, array: np.ndarray) -> None:
    """Write a chunked, compressed field. Chunks are compressed here, because HDF5 would serialise the threads."""
    images = min(_PACKED_IMAGES, len(array))
    chunk = (images, *array.shape[1:])
    field = file.create_dataset(
        name, array.shape, array.dtype, chunks=chunk, compression="gzip", compression_opts=_GZIP
    )
    for first in range(0, len(array), images):
        part = array[first : first + images]
        if len(part) < images:
            part = np.concatenate([part, np.zeros((images - len(part), *array.shape[1:]), array.dtype)])
        field.id.write_direct_chunk((first,) + (0,) * (array.ndim - 1), zlib.compress(part.data, _GZIP))


class _MemoryFile(io.RawIOBase):
    """An in-memory file for HDF5. One large array is stored by reference, all other data by value."""

    def __init__(self, large: np.ndarray) -> None:
        self._large = large.reshape(-1).data.cast("B")
        self._address = large.__array_interface__["data"][0]
        self._large_at: int | None = None
        self._rest = bytearray()  # the file without the large array
        self._at = 0

    def pieces(self) -> list[bytes | memoryview]:
        """Return the content as pieces to be joined."""
        if self._large_at is None:
            return [bytes(self._rest)]
        head, tail = self._rest[: self._large_at], self._rest[self._large_at :]
        return [bytes(head), self._large, bytes(tail)]

    def _span(self, size: int) -> slice:
        """Return the slice of `_rest` for the next `size` bytes."""
        at = self._at
        if self._large_at is not None and at >= self._large_at + len(self._large):
            at -= len(self._large)
        elif self._large_at is not None and at + size > self._large_at:
            raise io.UnsupportedOperation("inside the large array")
        return slice(at, at + size)

    def write(self, data: Any) -> int:
        """Write at the current position. The large array is recognised by its address."""
        size = len(data)
        if size == len(self._large) and np.frombuffer(data, np.uint8).__array_interface__["data"][0] == self._address:
            self._grow(self._at)
            self._large_at = self._at
        else:
            span = self._span(size)
            self._grow(span.stop)
            self._rest[span] = data
        self._at += size
        return size

    def readinto(self, data: Any) -> int:
        """Read into a buffer from the current position, and return the number of bytes."""
        part = self._rest[self._span(len(data))]
        data[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _grow(self, size: int) -> None:
        self._rest.extend(bytes(max(0, size - len(self._rest))))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the current position, and return it."""
        end = len(self._rest) + (len(self._large) if self._large_at is not None else 0)
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: end}[whence] + offset
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file. HDF5 calls this at the end, when all arrays are written."""
        size = self._at if size is None else size
        rest = size - (len(self._large) if self._large_at is not None else 0)
        self._grow(rest)
        del self._rest[rest:]
        return size


def open_shard_file(path: Path, images: int, canvas: int) -> h5py.File:
    """Open a shard as HDF5 after checking its layout.

    Raises:
        DataProblemError: the shard is missing, damaged, or its layout differs from the format.
        OSError: the system refuses to open the file, for example because too many files are open.
    """
    try:
        file = _open_hdf5(path)
    except FileNotFoundError as error:
        raise DataProblemError(f"{path}: the shard is missing; run generate again") from error
    except OSError as error:
        _raise_system_error(error, path)
        raise DataProblemError(
            f"{path}: not a readable HDF5 file; run `mnistref verify`, then generate again"
        ) from error
    try:
        _require_file_layout(file, path, images, canvas)
    except BaseException:
        file.close()
        raise
    return file


def _open_hdf5(path: Path) -> h5py.File:
    """Open with HDF5's usual lock, or without a lock if the file system has none or another process holds one.

    Shards are never modified, so no lock is needed. The usual lock is tried first, because a process must open a file
    the same way each time, and user code may have opened it too.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        locks = error.errno in (errno.EAGAIN, errno.EACCES, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
        if not locks and "locking flag" not in str(error):
            raise
    return h5py.File(path, "r", locking=False)


@contextmanager
def open_shard(path: Path, images: int, canvas: int) -> Iterator[h5py.File]:
    """Open a shard as `open_shard_file` does, and close it at the end of the block."""
    with open_shard_file(path, images, canvas) as file:
        yield file


def read_shard(path: Path, images: int, canvas: int, names: Iterable[str] = FIELDS) -> dict[str, np.ndarray]:
    """Read the named fields of a shard after checking its layout."""
    with open_shard(path, images, canvas) as file:
        return {name: read_field(file, name, path) for name in names}


def read_whole_shard(path: Path, images: int, canvas: int) -> Arrays:
    """Read every field, and check the layout and the value ranges."""
    arrays = read_shard(path, images, canvas)
    require_valid(arrays, images, canvas, str(path))
    return Arrays(**arrays)


def read_field(file: h5py.File, name: str, path: Path, index: object = ()) -> np.ndarray:
    """Read a field, or the part of it that `index` selects.

    Raises:
        DataProblemError: the field is damaged.
    """
    try:
        array: np.ndarray = file[name][index]
        return array
    except (OSError, RuntimeError) as error:
        _raise_system_error(error, path)
        raise DataProblemError(f"{path}: {name} is damaged; run `mnistref verify`, then generate again") from error


def _raise_system_error(error: OSError | RuntimeError, path: Path) -> None:
    """Raise the system's error with the file's name if HDF5 passes one on. Errors of damaged files have no number."""
    number = getattr(error, "errno", None)
    if number is not None:
        raise OSError(number, os.strerror(number), str(path)) from error


def image_offset(file: h5py.File, path: Path) -> int:
    """Return the offset in the file at which the bytes of `image` begin, one image after the other.

    Raises:
        DataProblemError: the images are not stored contiguously.
    """
    image = file["image"]
    offset: int | None = image.id.get_offset()  # None if chunked, compressed or never written
    if offset is None or offset + image.size > path.stat().st_size:
        raise DataProblemError(f"{path}: its images cannot be memory-mapped; run the same `mnistref generate` again")
    return offset


def _require_file_layout(file: h5py.File, path: Path, images: int, canvas: int) -> None:
    try:
        names = set(file)
        if names != set(FIELDS):
            raise DataProblemError(f"{path}: fields differ from the format: {sorted(names ^ set(FIELDS))}")
        for name in FIELDS:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise DataProblemError(f"{path}: {name} is a link; a shard holds its own data")
            field = file[name]
            if not isinstance(field, h5py.Dataset):
                raise DataProblemError(f"{path}: {name} is not an HDF5 data set")
            if field.is_virtual or field.external:
                raise DataProblemError(f"{path}: {name} is stored in other files; a shard holds its own data")
            require_layout(name, field.dtype, shape=field.shape, images=images, canvas=canvas, name=str(path))
    except DataProblemError:
        raise
    except Exception as error:  # h5py raises many classes on a damaged file
        if isinstance(error, OSError):
            _raise_system_error(error, path)
        raise DataProblemError(f"{path}: damaged ({type(error).__name__}); run generate again") from error
