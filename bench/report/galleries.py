"""Galleries: the snapshots of runs, with the images once per data set and the maps once per row of the board.

`images.png` holds n square images side by side. `maps.png` holds the product of the maps over each of them in grey;
white is the maximum.
"""

import base64
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.common.json_files import read_json
from bench.evaluation.snapshots import FOLDER, IMAGES, MAPS, WORDS
from bench.report.groups import ComparisonGroup, number
from mnistref.common.errors import DataProblemError

log = logging.getLogger("bench")

MAX_IMAGES = 32
"""Maximal number of images per data set."""
TILE_PIXELS, MAP_TILE_PIXELS = 224, 112
"""Maximal side of an image, and of a map, in pixels. Larger ones are reduced."""
MAPS_BUDGET_CHARACTERS = 6_000_000
"""Maximal size of all maps of a page in characters. Rows beyond the budget are shown without maps."""
LEVELS = 48
MAX_OPACITY = 0.85
"""Opacity of the maximum of a map."""


@dataclass(frozen=True)
class Answers:
    """The answers of one run.

    Attributes:
        name: name of the row.
        run: name of the run.
        maps: data URI; None if there are no maps.
        answers: for each image, the answer (None if it is not finite) and whether it is right.
        omitted: whether the maps exceed the budget of the page.
        unmapped: number of images without a map, because it is not finite or negative.
    """

    name: str
    run: str
    maps: str | None
    answers: tuple[tuple[str | None, bool], ...]
    omitted: bool = False
    unmapped: int = 0

    @property
    def right(self) -> int:
        """The number of right answers."""
        return sum(right for _, right in self.answers)

    @property
    def unanswered(self) -> int:
        """The number of answers that are not finite."""
        return sum(said is None for said, _ in self.answers)


@dataclass(frozen=True)
class Gallery:
    """The images of a data set, the questions about them, and the answers of each run.

    Attributes:
        dataset: name of the data set.
        images: data URI of n squares side by side.
        questions: (query, label, scale) of each image, as text.
        answers: the answers of each run.
    """

    dataset: str
    images: str
    questions: tuple[tuple[str, str, str], ...]
    answers: tuple[Answers, ...]


def galleries(comparison_groups: Iterable[ComparisonGroup], runs: Path) -> list[Gallery]:
    """Return a gallery for each data set with snapshots.

    Each row of the board is shown by its finished run with the lowest seed.
    """
    found: dict[str, list[tuple[str, Path]]] = {}
    named = list(comparison_groups)
    alone = {c.dataset for c in named if sum(c.dataset == other.dataset for other in named) == 1}
    for group in named:
        for entry in group.entries:
            if entry.finished:
                name = entry.label if group.dataset in alone else f"{entry.label} ({group.entries[0].row['recipe']})"
                found.setdefault(group.dataset, []).append((name, runs / entry.finished[0]["run"] / FOLDER))
    left = MAPS_BUDGET_CHARACTERS
    made = []
    for dataset, folders in found.items():
        gallery = _gallery(dataset, folders, left)
        if gallery:
            left -= sum(len(one.maps or "") for one in gallery.answers)
            made.append(gallery)
    return made


def _gallery(dataset: str, folders: Sequence[tuple[str, Path]], left: int) -> Gallery | None:
    """Return images and answers of those runs that have the most frequent list of questions.

    Args:
        dataset: name of the data set.
        folders: name and folder of each run.
        left: characters that are left for maps.
    """
    records = {folder: found for _, folder in folders if (found := _questions(folder))}
    asked = {folder: tuple(_question_of(one) for one in record) for folder, record in records.items()}
    usual = max(asked.values(), key=list(asked.values()).count, default=())
    alike = [(name, folder) for name, folder in folders if folder in asked and asked[folder] == usual]
    others = len(asked) - len(alike)
    if others:
        log.warning(
            "%s: skipped the snapshots of %d of %d runs, which have other questions", dataset, others, len(asked)
        )
    images = next((uri for _, folder in alike if (uri := _images(folder, len(usual)))), None)
    if images is None:
        return None
    answers = []
    for name, folder in alike:
        maps = _maps(folder, len(usual))
        room = len(maps or "") <= left
        left -= len(maps or "") if room else 0
        given = tuple(map(_answer_of, records[folder]))
        unmapped = sum(one.get("no_map") is True for one in records[folder])
        answers.append(Answers(name, folder.parent.name, maps if room else None, given, not room, unmapped))
    return Gallery(dataset, images, tuple((query, label, scale) for _, query, label, scale in usual), tuple(answers))


def _answer_of(record: dict[str, Any]) -> tuple[str | None, bool]:
    """Return the answer, and whether it is right; the answer is None if it was not finite."""
    answer = record["answer"]
    return answer, answer == record["label"]


def _question_of(record: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return image, query, label and scale of a question as text."""
    scale = number(record.get("scale"))
    shown = "" if scale is None else f"{scale:.2f}"
    return str(record.get("question")), str(record["query"]), str(record["label"]), shown


def _questions(folder: Path) -> list[dict[str, Any]] | None:
    """Return the content of pictures.json; None if the file is missing or damaged."""
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


def _is_question(value: Any) -> bool:
    """Return whether a value is a question with a label, and an answer that is text or None."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("query", "label")):
        return False
    return "answer" in value and (value["answer"] is None or isinstance(value["answer"], str))


def _images(folder: Path, n: int) -> str | None:
    sheet = _sheet(folder / IMAGES, n, "RGB", TILE_PIXELS)
    return _uri(sheet) if sheet else None


def _maps(folder: Path, n: int) -> str | None:
    """Return maps as a heat map over the image: transparent at 0, bright yellow with opacity `MAX_OPACITY` at 1."""
    sheet = _sheet(folder / MAPS, n, "L", MAP_TILE_PIXELS)
    if sheet is None:
        return None
    level = np.round(np.asarray(sheet) / 255 * (LEVELS - 1)).astype(np.uint8)
    heat = Image.fromarray(level)
    part = np.linspace(0, 1, LEVELS)[:, None]
    colours = (1 - part) * np.array([255, 90, 0]) + part * np.array([255, 235, 90])
    heat.putpalette(np.round(colours).astype(np.uint8).tobytes())
    return _uri(heat, transparency=bytes(np.round(255 * MAX_OPACITY * part[:, 0] ** 0.8).astype(np.uint8)))


def _sheet(path: Path, n: int, mode: str, most: int) -> Image.Image | None:
    """Return an image of n squares side by side, reduced to a side of `most`; None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            width, height = picture.size
            if width != n * height or height > 2048:
                raise ValueError(f"{width} × {height} pixels are not {n} squares")
            side = min(height, most)
            return picture.convert(mode).resize((n * side, side), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("%s: skipped, %s", path, error)
        return None


def _uri(picture: Image.Image, **how: Any) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True, **how)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
