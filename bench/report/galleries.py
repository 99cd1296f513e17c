"""The small pictures kept with runs → what the page holds of them: images once for a data set, maps once for a row.

`images.png` holds n canvases side by side, `maps.png` the product of the maps over each, grey, its maximum white.
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
from bench.report.groups import Contest, number
from mnistref.common.errors import DataProblemError

log = logging.getLogger("bench")

MOST = 32
"""Images shown of a data set, at most."""
TILE, MAP_TILE = 224, 112
"""Pixels of a side, at most; what is larger is made smaller."""
BUDGET = 6_000_000
"""Characters of all maps of a page; rows for which nothing is left have their answers only."""
LEVELS = 48
SOLID = 0.85
"""How much of the image a map's maximum covers."""


@dataclass(frozen=True)
class Answers:
    """What one run makes of the images. `maps` is a data URI, None where there is nothing to be shown.

    `answers`: of each image what is said and whether that is right; None where the answer is not finite. `unmapped`:
    how many images have a map that cannot be shown, because it is not finite or below zero.
    """

    name: str
    run: str
    maps: str | None
    answers: tuple[tuple[str | None, bool], ...]
    omitted: bool = False
    unmapped: int = 0

    @property
    def right(self) -> int:
        return sum(right for _, right in self.answers)

    @property
    def unanswered(self) -> int:
        return sum(said is None for said, _ in self.answers)


@dataclass(frozen=True)
class Gallery:
    """A data set's images, as a data URI of n squares side by side, what is asked of each, and who answers what.

    `questions`: (query, label, scale) of each image, in words.
    """

    dataset: str
    images: str
    questions: tuple[tuple[str, str, str], ...]
    answers: tuple[Answers, ...]


def galleries(contests: Iterable[Contest], runs: Path) -> list[Gallery]:
    """One for each data set that has pictures: of each row of the board its finished run with the lowest seed."""
    found: dict[str, list[tuple[str, Path]]] = {}
    named = list(contests)
    alone = {c.dataset for c in named if sum(c.dataset == other.dataset for other in named) == 1}
    for contest in named:
        for entry in contest.entries:
            if entry.finished:
                name = (
                    entry.label if contest.dataset in alone else f"{entry.label} ({contest.entries[0].row['recipe']})"
                )
                found.setdefault(contest.dataset, []).append((name, runs / entry.finished[0]["run"] / FOLDER))
    left = BUDGET
    made = []
    for dataset, folders in found.items():
        gallery = _gallery(dataset, folders, left)
        if gallery:
            left -= sum(len(one.maps or "") for one in gallery.answers)
            made.append(gallery)
    return made


def _gallery(dataset: str, folders: Sequence[tuple[str, Path]], left: int) -> Gallery | None:
    """Images and answers of the runs that were asked what most were asked. `left`: characters for their maps."""
    records = {folder: found for _, folder in folders if (found := _questions(folder))}
    asked = {folder: tuple(_asked(one) for one in record) for folder, record in records.items()}
    usual = max(asked.values(), key=list(asked.values()).count, default=())
    alike = [(name, folder) for name, folder in folders if folder in asked and asked[folder] == usual]
    if len(alike) < len(asked):
        log.warning(
            "%s: %d of %d runs have pictures of other questions; left out", dataset, len(asked) - len(alike), len(asked)
        )
    images = next((uri for _, folder in alike if (uri := _images(folder, len(usual)))), None)
    if images is None:
        return None
    answers = []
    for name, folder in alike:
        maps = _maps(folder, len(usual))
        room = len(maps or "") <= left
        left -= len(maps or "") if room else 0
        said = tuple(map(_said, records[folder]))
        unmapped = sum(one.get("no_map") is True for one in records[folder])
        answers.append(Answers(name, folder.parent.name, maps if room else None, said, not room, unmapped))
    return Gallery(dataset, images, tuple((query, label, scale) for _, query, label, scale in usual), tuple(answers))


def _said(record: dict[str, Any]) -> tuple[str | None, bool]:
    """The answer and whether it is right; None for one that was not finite."""
    answer = record["answer"]
    return answer, answer == record["label"]


def _asked(record: dict[str, Any]) -> tuple[str, str, str, str]:
    scale = number(record.get("scale"))
    shown = "" if scale is None else f"{scale:.2f}"
    return str(record.get("question")), str(record["query"]), str(record["label"]), shown


def _questions(folder: Path) -> list[dict[str, Any]] | None:
    """What pictures.json holds, or None where it is missing or damaged."""
    path = folder / WORDS
    try:
        found = read_json(path)
    except FileNotFoundError:
        return None
    except DataProblemError as error:
        log.warning("%s", error)
        return None
    if not isinstance(found, list) or not 1 <= len(found) <= MOST or not all(map(_is_question, found)):
        log.warning("%s: not a list of 1 to %d questions; left out", path, MOST)
        return None
    return found


def _is_question(value: Any) -> bool:
    """Whether this is a question with its label and answer in words, or None for an answer that was not finite."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("query", "label")):
        return False
    return "answer" in value and (value["answer"] is None or isinstance(value["answer"], str))


def _images(folder: Path, n: int) -> str | None:
    sheet = _sheet(folder / IMAGES, n, "RGB", TILE)
    return _uri(sheet) if sheet else None


def _maps(folder: Path, n: int) -> str | None:
    """Maps as heat: where a map is 0 one sees through, where it is 1 there is a bright yellow, `SOLID` of it."""
    sheet = _sheet(folder / MAPS, n, "L", MAP_TILE)
    if sheet is None:
        return None
    level = np.round(np.asarray(sheet) / 255 * (LEVELS - 1)).astype(np.uint8)
    heat = Image.fromarray(level)
    part = np.linspace(0, 1, LEVELS)[:, None]
    colours = (1 - part) * np.array([255, 90, 0]) + part * np.array([255, 235, 90])
    heat.putpalette(np.round(colours).astype(np.uint8).tobytes())
    return _uri(heat, transparency=bytes(np.round(255 * SOLID * part[:, 0] ** 0.8).astype(np.uint8)))


def _sheet(path: Path, n: int, mode: str, most: int) -> Image.Image | None:
    """A picture of n squares side by side, no square larger than `most`; None where it is missing or no such thing."""
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
        log.warning("%s: %s; left out", path, error)
        return None


def _uri(picture: Image.Image, **how: Any) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True, **how)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
