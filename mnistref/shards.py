"""Shards on disk: HDF5 files that are there whole or not at all, and are looked at before they are believed.

A shard is built in memory (HDF5's core driver), hashed, written under a temporary name, flushed, and renamed: a process
killed while HDF5 writes in place leaves files that open and read as zeros. Reading refuses external, virtual and linked
data sets and any shape, type or name that the format does not have, before it reads data.
"""

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mnistref.errors import DataProblemError
from mnistref.files import write_whole
from mnistref.schema import FIELDS, Arrays, check, check_form

_PACKED_IMAGES = 10  # images in a chunk of a packed field
_GZIP = 1


@dataclass(frozen=True)
class ShardInfo:
    """What the manifest keeps of a shard."""

    file: str
    images: int
    bytes: int
    sha256: str
    content_sha256: str

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def content_digest(arrays: Arrays) -> str:
    """SHA-256 of the decoded arrays: of each field its name, dtype, shape and bytes. No library has a part in it."""
    digest = hashlib.sha256()
    for name, array in zip(FIELDS, arrays, strict=True):
        digest.update(f"{name} {FIELDS[name].dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_shard(path: Path, arrays: Arrays, dataset: str) -> ShardInfo:
    """Write one shard of the data set of that name, whole or not at all."""
    content = content_digest(arrays)
    data = _encode(arrays, {"shard": f"{dataset}/{path.name}", "content_sha256": content})
    write_whole(path, data)
    return _info(path, data, len(arrays.count), content)


def describe_shard(path: Path, images: int, canvas: int, dataset: str) -> ShardInfo:
    """What the manifest would keep of a shard found there; a data error unless it is the one of its name, whole."""
    content = content_digest(read_whole_shard(path, images, canvas))
    with h5py.File(path, "r") as file:
        said = {key: file.attrs.get(key) for key in ("shard", "content_sha256")}
    if said != {"shard": f"{dataset}/{path.name}", "content_sha256": content}:
        raise DataProblemError(f"{path}: not what its own label says; run generate again")
    return _info(path, path.read_bytes(), images, content)


def _info(path: Path, data: bytes, images: int, content: str) -> ShardInfo:
    return ShardInfo(path.name, images, len(data), hashlib.sha256(data).hexdigest(), content)


def _encode(arrays: Arrays, labels: Mapping[str, str]) -> bytes:
    """The bytes of the HDF5 file: the same for the same arrays and the same HDF5."""
    name = uuid.uuid4().hex  # of a file in memory: HDF5 takes two of one name for the same
    with h5py.File(name, "w", driver="core", backing_store=False, libver=("v108", "v108")) as file:
        for name, array in zip(FIELDS, arrays, strict=True):
            if FIELDS[name].packed:
                chunk = (min(_PACKED_IMAGES, len(array)), *array.shape[1:])
                file.create_dataset(name, data=array, chunks=chunk, compression="gzip", compression_opts=_GZIP)
            else:
                file.create_dataset(name, data=array)
        file.attrs.update(labels)
        file.flush()
        return file.id.get_file_image()


@contextmanager
def open_shard(path: Path, images: int, canvas: int):
    """The open HDF5 file of a shard whose form is what the manifest says; else a data error that names the file."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise DataProblemError(f"{path}: the shard is missing; run generate again") from error
    except OSError as error:
        raise DataProblemError(
            f"{path}: not a readable HDF5 file; run `mnistref verify`, then generate again"
        ) from error
    with file:
        _check_form(file, path, images, canvas)
        yield file


def read_shard(path: Path, images: int, canvas: int, names: Iterable[str] = FIELDS) -> dict[str, np.ndarray]:
    """The named fields of a shard, its form checked first."""
    with open_shard(path, images, canvas) as file:
        return {name: read_field(file, name, path) for name in names}


def read_whole_shard(path: Path, images: int, canvas: int) -> Arrays:
    """Every field, form and ranges checked."""
    arrays = read_shard(path, images, canvas)
    check(arrays, images, canvas, str(path))
    return Arrays(**arrays)


def read_field(file: h5py.File, name: str, path: Path, at: Any = ()) -> np.ndarray:
    try:
        return file[name][at]
    except (OSError, RuntimeError) as error:
        raise DataProblemError(f"{path}: {name} is damaged; run `mnistref verify`, then generate again") from error


def _check_form(file: h5py.File, path: Path, images: int, canvas: int) -> None:
    try:
        names = set(file)
        if names != set(FIELDS):
            raise DataProblemError(f"{path}: fields differ from the format: {sorted(names ^ set(FIELDS))}")
        for name in FIELDS:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise DataProblemError(f"{path}: {name} is a link; a shard holds its own data")
            field = file[name]
            if not isinstance(field, h5py.Dataset):
                raise DataProblemError(f"{path}: {name} is no data set")
            if field.is_virtual or field.external:
                raise DataProblemError(f"{path}: {name} lies in other files; a shard holds its own data")
            check_form(name, field.dtype, field.shape, images, canvas, str(path))
    except DataProblemError:
        raise
    except Exception as error:  # h5py raises many classes on a damaged file
        raise DataProblemError(f"{path}: damaged ({type(error).__name__}); run generate again") from error
