"""Decode one photo file to 8-bit RGB, or raise a data error that names it."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import PIL
import PIL._imaging
from PIL import Image, UnidentifiedImageError

from mnistref.common.errors import DataProblemError
from mnistref.common.rgb_pixels import UnfitImageError, is_rgb, to_rgb
from mnistref.sources.metadata_removal import without_metadata
from mnistref.sources.orientation import SIDEWAYS, TURNS, orientation
from mnistref.sources.thread_pool import BoundedThreadPool, StoppableFile, StoppedError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are detected in a file, whatever its name. `_cost` bounds the memory of their decoders."""
MIN_SIDE, MAX_ASPECT = 16, 10
"""Photos with a shorter side, or with a larger aspect ratio than MAX_ASPECT, are refused."""
CHECK_VERSION = f"4 {PIL.__version__}"
"""Version of the checks and of Pillow. A cached result of another version is not used."""
with suppress(AttributeError, OSError):
    ctypes.CDLL(PIL._imaging.__file__).TIFFSetErrorHandler(None)  # it would print warnings about TIFF files to stderr

_DRAFT_PIXELS = 256  # minimal side of a JPEG that is decoded at a reduced size


@contextmanager
def opened_photo(path: Path, pool: BoundedThreadPool) -> Iterator[Image.Image]:
    """Open a photo as 8-bit RGB: upright, first frame only, transparency on black.

    The memory of the decoder is reserved from `pool` during the block.

    Raises:
        DataProblemError: the photo cannot be used.
    """
    with _opened(path, pool, False) as (photo, _):
        yield photo


@contextmanager
def opened_draft(path: Path, pool: BoundedThreadPool) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """Open the same photo for a thumbnail: a JPEG is decoded at a reduced size, down to 256 pixels a side.

    Yields:
        The photo, and the upright size of the original.
    """
    with _opened(path, pool, True) as both:
        yield both


@contextmanager
def _opened(path: Path, pool: BoundedThreadPool, draft: bool) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    with _errors_name_file(path), ExitStack() as stack:
        try:
            both = stack.enter_context(_open_upright(StoppableFile(path, pool), pool, draft))
        except (StoppedError, MemoryError, UnfitImageError):
            raise
        except Exception as error:  # decoders raise any exception, also for damaged metadata
            file = stack.enter_context(StoppableFile(path, pool))
            bare = without_metadata(file)
            if bare is None:
                raise
            with _raise_original_error(error):
                both = stack.enter_context(_open_upright(bare, pool, draft, os.path.getsize(path)))
        yield both


@contextmanager
def _raise_original_error(error: Exception) -> Iterator[None]:
    """Raise `error`, the error of the original file, if the block fails."""
    try:
        yield
    except (StoppedError, MemoryError, UnfitImageError):
        raise
    except Exception:
        raise error from None


@contextmanager
def _open_upright(
    file: BinaryIO, pool: BoundedThreadPool, draft: bool, file_bytes: int = 0
) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """Decode the photo in `file`, and yield it upright with the size of the original.

    Args:
        file: the file, which is closed at the end.
        pool: provides the memory.
        draft: decode a JPEG at a reduced size, see `opened_draft`.
        file_bytes: memory that the decoder may need for the file itself, in bytes.
    """
    with file, closing(Image.open(file, formats=FORMATS)) as image:
        size = image.size
        if draft:
            image.draft(None, (_DRAFT_PIXELS, _DRAFT_PIXELS))
        reduced = image.size != size
        with pool.reserve_memory(_cost(image, size, pool, file_bytes)):
            image.load()
            turn = TURNS.get(orientation(image))  # a PNG may store it after the pixels
            photo = to_rgb(image)
            if photo is not image:
                image.close()
            if turn is not None:
                photo, flat = photo.transpose(turn), photo
                flat.close()
                size = size[::-1] if turn in SIDEWAYS else size
            if not reduced:
                size = photo.size
            if min(size) < MIN_SIDE or max(size) > MAX_ASPECT * min(size):
                raise UnfitImageError(
                    f"the photo has {_pixels(size)}; a background needs at least {MIN_SIDE} pixels a side and an "
                    f"aspect ratio of at most {MAX_ASPECT}; remove it"
                )
            with closing(photo):  # free its memory before the reservation ends
                yield photo, size


def read_photo(path: Path) -> Image.Image:
    """Return the photo of `opened_photo` as an image in memory."""
    with opened_photo(path, BoundedThreadPool()) as photo:
        return photo.copy()


@contextmanager
def _errors_name_file(path: Path) -> Iterator[None]:
    try:
        yield
    except (StoppedError, DataProblemError, MemoryError):
        raise
    except UnfitImageError as error:
        raise DataProblemError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise exceptions of any type
        if isinstance(error, OSError) and error.errno is not None:  # a system error, not a damaged photo
            error.filename = str(path)
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"none of {', '.join(FORMATS)}"
        raise DataProblemError(f"{path}: cannot be read as an image ({reason}); repair or remove it") from error


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]} pixels"


def _cost(image: Image.Image, size: tuple[int, int], pool: BoundedThreadPool, file_bytes: int) -> int:
    """Return an upper bound of the memory for decoding a photo, in bytes, from its header.

    Pillow needs 4 bytes per pixel for the decoded image, and 4 more for a turned or converted copy. The decoders of
    WebP and of progressive JPEG need memory per pixel of the original too.

    Args:
        image: the opened photo, perhaps at a reduced size.
        size: width and height of the original.
        pool: provides the memory.
        file_bytes: memory that the decoder may need for the file itself, in bytes.

    Raises:
        UnfitImageError: the bound is more than the whole memory of the pool.
    """
    decoder = 8 if image.format == "WEBP" else 6 if image.info.get("progressive") else 0
    # Pillow decodes all pixels of a PNG to look for EXIF data that are not in front of them
    in_header = image.format != "PNG" or "exif" in image.info
    turned = in_header and orientation(image) != 1
    pixels, whole = image.width * image.height, size[0] * size[1]
    cost = max(4 * pixels + decoder * whole, 8 * pixels if turned or not is_rgb(image) else 0) + file_bytes
    if cost > pool.memory:
        most = f"{pool.memory // 1_000_000} MB"
        raise UnfitImageError(f"{_pixels(size)} take more than {most} to decode; scale it down or remove it")
    return cost
