"""The files of snapshots: pictures of a run's folder, and a small copy of them for a stored board.

    images.png   n square images side by side
    maps.png     the product of the maps over each image in grey; white is its maximum
    targets.png  the ink of the queried digits, white on black
    pictures.json  question and answer for each image

A small copy has the first two files as WebP. See `bench.evaluation.snapshots` for the content.
"""

import io
import json
import logging
from pathlib import Path
from typing import NotRequired, TypedDict, TypeGuard

from PIL import Image

from bench.common.json_files import read_json
from bench.evaluation.record_keys import ANSWER
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

log = logging.getLogger("bench")

FOLDER, IMAGES, MAPS, TARGETS, WORDS = "pictures", "images.png", "maps.png", "targets.png", "pictures.json"
SMALL_IMAGES, SMALL_MAPS = "images.webp", "maps.webp"
_SMALL = {IMAGES: SMALL_IMAGES, MAPS: SMALL_MAPS}
MAX_IMAGES = 32
"""Maximal number of images of a run."""
MAX_HEIGHT_PIXELS = 2048
"""Maximal height of a file."""
SMALL_TILE_PIXELS = 112
"""Maximal side of an image in a small copy, in pixels. Larger ones are reduced."""
SMALL_BYTES = 15_000
"""Maximal size of a small copy in bytes."""
_QUALITIES = (80, 70, 60, 50, 40, 30, 20, 10, 1)
"""Qualities of WebP; the first one with which a small copy is small enough is used."""
_MAP_QUALITY = 80


class PictureRecord(TypedDict):
    """An entry of pictures.json as it is read, see `bench.evaluation.snapshots.SnapshotWords`.

    Only `query`, `label` and `answer` are validated.
    """

    query: str
    label: str
    answer: str | None
    question: NotRequired[object]
    scale: NotRequired[object]
    uniform: NotRequired[object]
    share: NotRequired[object]
    no_map: NotRequired[object]


def read_questions(folder: Path) -> list[PictureRecord] | None:
    """Return the content of pictures.json; None, with a warning, if it is damaged, and None if it does not exist."""
    path = folder / WORDS
    try:
        found = read_json(path)
    except FileNotFoundError:
        return None
    except DataProblemError as error:
        log.warning("%s", error)
        return None
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_IMAGES or not all(map(_is_question, found)):
        log.warning("%s: skipped, not a list of 1 to %d questions", path, MAX_IMAGES)
        return None
    return found


def _is_question(value: object) -> TypeGuard[PictureRecord]:
    """Return whether a value is a question with a label, and an answer that is text or None."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("query", "label")):
        return False
    return ANSWER in value and (value[ANSWER] is None or isinstance(value[ANSWER], str))


def read_sheet(folder: Path, name: str, n: int, mode: str, max_side: int) -> Image.Image | None:
    """Return a picture of n squares side by side; None, with a warning if it is damaged, or if it does not exist.

    Args:
        folder: the folder with the pictures of a run.
        name: `IMAGES`, `MAPS` or `TARGETS`. A small copy may replace each of the first two.
        n: number of squares.
        mode: mode of the picture, such as "RGB".
        max_side: maximal side of a square in pixels. Larger squares are reduced.
    """
    path = next((path for one in (name, _SMALL.get(name)) if one and (path := folder / one).is_file()), None)
    if path is None:
        return None
    try:
        with Image.open(path, formats=["PNG", "WEBP"]) as picture:
            width, height = picture.size
            if width != n * height or height > MAX_HEIGHT_PIXELS:
                raise ValueError(f"{width} × {height} pixels are not {n} squares")
            side = min(height, max_side)
            return picture.convert(mode).resize((n * side, side), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("%s: skipped, %s", path, error)
        return None


def copy_small(folder: Path, target: Path) -> None:
    """Write a small copy of the pictures of a run, of at most `SMALL_BYTES`. A small copy is copied unchanged.

    Without valid questions and images, nothing is written.

    Args:
        folder: the folder with the pictures.
        target: the folder of the copy, which does not exist.
    """
    questions = read_questions(folder)
    if questions is None:
        return
    images, maps, targets = (
        read_sheet(folder, name, len(questions), mode, SMALL_TILE_PIXELS)
        for name, mode in ((IMAGES, "RGB"), (MAPS, "L"), (TARGETS, "L"))
    )
    if images is None:
        return
    if (folder / SMALL_IMAGES).is_file():
        names = (SMALL_IMAGES, SMALL_MAPS, TARGETS, WORDS)
        files = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    else:
        files = {WORDS: json.dumps(questions, ensure_ascii=False).encode()}
        files |= {SMALL_MAPS: _webp(maps, _MAP_QUALITY)} if maps else {}
        files |= {TARGETS: _png(targets)} if targets else {}
        available_bytes = SMALL_BYTES - sum(map(len, files.values()))
        encoded = (_webp(images, quality) for quality in _QUALITIES)
        small = next((data for data in encoded if len(data) <= available_bytes), None)
        if small is None:
            log.warning("%s: not stored with the board, because %d bytes are too few", folder, SMALL_BYTES)
            return
        files[SMALL_IMAGES] = small
    target.mkdir(parents=True)
    for name, data in files.items():
        write_whole(target / name, data)


def _webp(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality, method=6)
    return file.getvalue()


def _png(picture: Image.Image) -> bytes:
    """Return a picture of two colours."""
    file = io.BytesIO()
    picture.point(lambda value: 255 * (value >= 128)).convert("1", dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()
