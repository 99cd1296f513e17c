"""Where the compressed chunks of a shard's field are in the file, so that they can be decoded without HDF5."""

import math
import zlib
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from mnistref.common.errors import DataProblemError


class Chunks(NamedTuple):
    """The chunks of a field that is divided along its first axis.

    Attributes:
        shape: shape of a decoded chunk, (images, …). The last chunk is padded to this shape.
        places: (offset in the file, size in bytes) of each chunk, in order.
    """

    shape: tuple[int, ...]
    places: tuple[tuple[int, int], ...]


def find_chunks(file: h5py.File, name: str) -> Chunks | None:
    """Return the chunks of a u1 field; None if it is not stored as gzip chunks of whole images, as this program does.

    Args:
        file: an open shard.
        name: the field.
    """
    field = file[name]
    shape = field.chunks
    is_plain = field.compression == "gzip" and field.id.get_create_plist().get_nfilters() == 1
    if not is_plain or shape is None or shape[1:] != field.shape[1:]:
        return None
    infos = [field.id.get_chunk_info(k) for k in range(field.id.get_num_chunks())]
    places = {info.chunk_offset[0] // shape[0]: info for info in infos if info.filter_mask == 0}
    if sorted(places) != list(range(-(-field.shape[0] // shape[0]))):  # HDF5 does not store chunks never written
        return None
    return Chunks(shape, tuple((places[k].byte_offset, places[k].size) for k in range(len(places))))


def decode_chunk(content: np.ndarray, chunks: Chunks, number: int, images: int, path: Path) -> np.ndarray:
    """Return the first images of a chunk, u1 (images, …). The array is read-only.

    Args:
        content: the bytes of the file, u1 (n,).
        chunks: the chunks of the field.
        number: number of the chunk, from 0.
        images: number of images to decode. The time is proportional to it.
        path: the file, for the message.

    Raises:
        DataProblemError: the chunk is damaged.
    """
    offset, size = chunks.places[number]
    shape = (images, *chunks.shape[1:])
    try:
        decoded = zlib.decompressobj().decompress(content[offset : offset + size].data, math.prod(shape))
        return np.frombuffer(decoded, np.uint8).reshape(shape)
    except (ValueError, zlib.error) as error:
        raise DataProblemError(f"{path}: a mask is damaged; run `mnistref verify`, then generate again") from error
