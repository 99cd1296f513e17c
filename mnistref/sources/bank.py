"""Photos that are decoded and scaled once, into a bank in `raw/` that workers map into memory.

A photo is prepared in `views` sizes: one, or more if fewer than 64 photos exist. The short side of a view is uniform in
1 … 2 × the canvas and derived from the photo's own digest, so one bank serves every seed. A background is a random crop
of a view. Resizing is bicubic, because its weights need no function that differs between machines.
"""

import hashlib
import json
import logging
import shutil
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image

from mnistref.common.atomic_files import atomic_folder, exclusive, file_sha256
from mnistref.common.errors import DataProblemError
from mnistref.rendering.rng import PHOTO_VIEW, Stream
from mnistref.sources.decode import opened_photo
from mnistref.sources.photos import PhotoList
from mnistref.sources.thread_pool import BoundedThreadPool
from mnistref.spec import canonical_json

log = logging.getLogger("mnistref")

INDEX, PIXELS = "index.json", "pixels.u1"


class BankIndex(TypedDict):
    """The content of index.json, without its digest: sizes of the views, views per photo, SHA-256 of the pixels."""

    height: list[int]
    width: list[int]
    views: int
    sha256: str


@dataclass(frozen=True)
class Bank:
    """Prepared photos with V = P · views views: `pixels` u1, flat; `offset`, `height`, `width` i8 (V,)."""

    pixels: np.ndarray
    offset: np.ndarray
    height: np.ndarray
    width: np.ndarray
    views: int


def prepare_bank(photos: PhotoList, canvas: int, raw: Path) -> Path:
    """Return the folder of the bank for these photos and this canvas. Create it if it is missing or damaged.

    Raises:
        DataProblemError: a photo cannot be decoded.
    """
    if found := find_bank(photos, canvas, raw):
        return found
    folder = _bank_folder(photos, canvas, raw)
    with exclusive(raw / ".lock", raw):
        if _is_intact(folder):  # another process has created it
            return folder
        if folder.exists():
            log.info("%s is damaged; preparing the photos again", folder)
            shutil.rmtree(folder)
        log.info("preparing %d photos for %d × %d images (once) …", len(photos.paths), canvas, canvas)
        with atomic_folder(folder) as partial:
            _write_bank(photos, canvas, partial)
    return folder


def find_bank(photos: PhotoList, canvas: int, raw: Path) -> Path | None:
    """Return the folder of the bank if it exists and is intact, else None. The photo files are not needed."""
    folder = _bank_folder(photos, canvas, raw)
    return folder if _is_intact(folder) else None


def has_bank(photos: PhotoList, canvas: int, raw: Path) -> bool:
    """Return whether a bank exists. `prepare_bank` checks whether it is intact."""
    return _bank_folder(photos, canvas, raw).is_dir()


def _bank_folder(photos: PhotoList, canvas: int, raw: Path) -> Path:
    key = canonical_json([photos.sha256, canvas, photos.views])
    return raw / f"photos-{canvas}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


@lru_cache(maxsize=4)
def open_bank(folder: Path) -> Bank:
    """Map a bank into memory. All processes share its pages.

    Raises:
        DataProblemError: the index is damaged. The pixels are checked by `prepare_bank`.
    """
    try:
        index = _read_index(folder)
    except ValueError as error:
        raise DataProblemError(f"{folder}: damaged; delete it and run again") from error
    height, width = np.array(index["height"], np.int64), np.array(index["width"], np.int64)
    ends = np.cumsum(height * width * 3)
    pixels = np.asarray(np.memmap(folder / PIXELS, np.uint8, "r"))
    return Bank(pixels, ends - height * width * 3, height, width, index["views"])


def _read_index(folder: Path) -> BankIndex:
    """Return the index of a bank; raise ValueError if it is damaged, since its offsets are used unchecked."""
    try:
        content = json.loads((folder / INDEX).read_text())
        seal = content.pop("seal")
        index: BankIndex = content
        if seal != _seal(index):
            raise ValueError("its digest differs")
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError("not an index") from error
    return index


def _seal(index: BankIndex) -> str:
    return hashlib.sha256(canonical_json(index).encode()).hexdigest()


def _is_intact(folder: Path) -> bool:
    try:
        return bool(file_sha256(folder / PIXELS) == _read_index(folder)["sha256"])
    except (FileNotFoundError, NotADirectoryError, ValueError):  # other errors are not caused by a damaged bank
        return False


def _write_bank(photos: PhotoList, canvas: int, folder: Path) -> None:
    heights, widths, digest = [], [], hashlib.sha256()
    pool = BoundedThreadPool()
    prepared = pool.map(
        lambda k: _views(photos.paths[k], photos.sha256s[k], canvas, photos.views, pool),
        range(len(photos.paths)),
        "preparing photos",
    )
    with open(folder / PIXELS, "wb") as file, closing(prepared):
        for views in prepared:
            for view in views:
                heights.append(view.shape[0])
                widths.append(view.shape[1])
                digest.update(view.data)
                file.write(view.data)
    index: BankIndex = {"height": heights, "width": widths, "views": photos.views, "sha256": digest.hexdigest()}
    (folder / INDEX).write_text(canonical_json({**index, "seal": _seal(index)}))


def _views(path: Path, sha256: str, canvas: int, views: int, pool: BoundedThreadPool) -> list[np.ndarray]:
    """Return a photo in each of its sizes, u1 (h, w, 3); raise DataProblemError if its file has changed."""
    prepared = []
    with opened_photo(path, pool) as photo:
        for view in range(views):
            pool.raise_if_stopped()
            short = canvas + Stream(int(sha256[:16], 16), 0, view, PHOTO_VIEW).below(canvas + 1)
            scale = short / min(photo.size)
            size = [max(short, round(side * scale)) for side in photo.size]
            prepared.append(np.asarray(photo.resize((size[0], size[1]), Image.Resampling.BICUBIC)))
    if file_sha256(path) != sha256:
        raise DataProblemError(f"{path}: the photo changed while the data set was generated; run again")
    return prepared
