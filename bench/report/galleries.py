"""Galleries: where the networks look, for each data set.

A gallery has the share of the attention on the queried digit for each row of the board, and the pictures of the runs,
see `bench.evaluation.picture_files`: the images once per data set, and the maps once per row.
"""

import base64
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.common.number_format import percent, ratio
from bench.common.uniform_map import Relation, compare_with_chance, is_below_uniform
from bench.evaluation.columns import ACCURACY, MASK_CORRECTNESS, UNIFORM
from bench.evaluation.picture_files import FOLDER, IMAGES, MAPS, PictureRecord, read_questions, read_sheet
from bench.evaluation.record_keys import ANSWER
from bench.report.outline import outline
from bench.report.sections import BoardEntry, BoardSection, fraction, number
from bench.report.targets import find_targets, read_targets

log = logging.getLogger("bench")

TILE_PIXELS, MAP_TILE_PIXELS = 224, 112
"""Maximal side of an image, and of a map, in pixels. Larger ones are reduced."""
MAPS_BUDGET_CHARACTERS = 6_000_000
"""Maximal size of all maps of a page in characters. Rows beyond the budget are shown without maps."""
LEVELS = 48
MAX_OPACITY = 0.85
"""Opacity of the maximum of a map."""


@dataclass(frozen=True)
class Attention:
    """The share of the attention on the digit, and the share of a uniform map. None stands for an unknown share."""

    share: float | None
    uniform: float | None

    @property
    def is_below(self) -> bool:
        """Whether the share is below that of a uniform map."""
        return is_below_uniform(self.share, self.uniform)

    @property
    def text(self) -> str:
        """The share in percent; "" if it is unknown."""
        return "" if self.share is None else f"{percent(self.share)}\u00a0%"

    @property
    def uniform_text(self) -> str:
        """The share of a uniform map in percent; "" if it is unknown."""
        return "" if self.uniform is None else f"{percent(self.uniform)}\u00a0%"

    @property
    def comparison(self) -> str:
        """How the share compares with that of a uniform map; "" if they count as equal, or if one is unknown."""
        if self.share is None or not self.uniform or compare_with_chance(self.share, self.uniform) is Relation.EQUAL:
            return ""
        return "below uniform" if self.is_below else f"{ratio(self.share / self.uniform)}\u00a0×\u00a0uniform"


@dataclass(frozen=True)
class QuestionText:
    """A question about an image: query, right answer and scale of the digit, as text."""

    query: str
    label: str
    scale: str


@dataclass(frozen=True)
class Answer:
    """An answer to a question; `text` is None if it was not finite."""

    text: str | None
    is_right: bool
    attention: Attention


@dataclass(frozen=True)
class Answers:
    """A row of the board.

    Attributes:
        name: name of the row.
        recipe: its recipe in words.
        accuracy: its accuracy in percent; "" if it is unknown.
        attention: the mean over all test questions.
        run: name of the run whose answers are shown; "" if there are none.
        maps: data URI; None if there are no maps.
        answers: the answer to the question about each image; () if none are stored.
        is_omitted: whether the maps exceed the budget of the page.
        unmapped: number of images without a map, because it is not finite or negative.
    """

    name: str
    recipe: str
    accuracy: str
    attention: Attention
    run: str = ""
    maps: str | None = None
    answers: tuple[Answer, ...] = ()
    is_omitted: bool = False
    unmapped: int = 0

    @property
    def right(self) -> int:
        """The number of right answers."""
        return sum(answer.is_right for answer in self.answers)

    @property
    def unanswered(self) -> int:
        """The number of answers that are not finite."""
        return sum(answer.text is None for answer in self.answers)


@dataclass(frozen=True)
class Gallery:
    """The images of a data set, the questions about them, and the answers of each row.

    Attributes:
        title: title of the section.
        images: data URI of n squares side by side; None if no run has pictures.
        side: side of a square in pixels of `outline`.
        outline: SVG path around the ink of the queried digits; "" if the ink is unknown.
        questions: the question about each image.
        answers: the rows with pictures.
        others: the rows without pictures.
    """

    title: str
    images: str | None
    side: int
    outline: str
    questions: tuple[QuestionText, ...]
    answers: tuple[Answers, ...]
    others: tuple[Answers, ...]


@dataclass(frozen=True)
class _Pictures:
    """The pictures of the run of a row: its folder, and the content of pictures.json."""

    entry: BoardEntry
    folder: Path
    records: list[PictureRecord]

    @property
    def questions(self) -> tuple[tuple[str, QuestionText], ...]:
        """Image and question of each picture."""
        return tuple((str(record.get("question")), _question(record)) for record in self.records)


def galleries(sections: Iterable[BoardSection], runs: Path, places: Sequence[Path] = ()) -> list[Gallery]:
    """Return a gallery for each section with maps or pictures.

    Each row of the board is shown by its finished run with the lowest seed.

    Args:
        sections: the sections.
        runs: the folder of the runs.
        places: folders that may contain datasets/, for outlines of digits that runs did not store.
    """
    budget = MAPS_BUDGET_CHARACTERS
    made = []
    for section in sections:
        gallery = _gallery(section, runs, places, budget)
        if gallery.answers or any(one.attention.text for one in gallery.others):
            budget -= sum(len(one.maps or "") for one in gallery.answers)
            made.append(gallery)
    return made


def _gallery(section: BoardSection, runs: Path, places: Sequence[Path], budget: int) -> Gallery:
    """Return the gallery of a section: the pictures of the questions that most runs drew.

    Pictures of other questions are left out.

    Args:
        section: the section.
        runs: the folder of the runs.
        places: see `galleries`.
        budget: characters that are left for maps.
    """
    finished = [entry for entry in section.entries if entry.finished]
    folders = [(entry, runs / entry.finished[0]["run"] / FOLDER) for entry in finished]
    found = [_Pictures(entry, folder, words) for entry, folder in folders if (words := read_questions(folder))]
    lists = [pictures.questions for pictures in found]
    usual = max(lists, key=lists.count, default=())
    alike = [pictures for pictures in found if pictures.questions == usual]
    if len(alike) < len(found):
        few, many = len(found) - len(alike), len(found)
        log.warning("%s: skipped the pictures of %d of %d runs, which have other questions", section.title, few, many)
    images = next((uri for one in alike if (uri := _images(one.folder, len(usual)))), None)
    shown = alike if images else []
    answers = []
    for pictures in shown:
        answers.append(_answers(pictures, budget))
        budget -= len(answers[-1].maps or "")
    ink = next((ink for one in shown if (ink := read_targets(one.folder, len(usual))) is not None), None)
    if ink is None and shown:
        ink = _find_ink(shown[0], section, places)
    labels = {pictures.entry.label for pictures in shown}
    return Gallery(
        title=section.title,
        images=images,
        side=0 if ink is None else ink.shape[0],
        outline="" if ink is None else outline(ink, len(usual)),
        questions=tuple(question for _, question in usual) if images else (),
        answers=tuple(answers),
        others=tuple(_summary(entry) for entry in finished if entry.label not in labels),
    )


def _find_ink(pictures: _Pictures, section: BoardSection, places: Sequence[Path]) -> np.ndarray | None:
    questions = [record.get("question") for record in pictures.records]
    return find_targets(pictures.folder, section.dataset, str(pictures.entry.row["queries"]), questions, places)


def _answers(pictures: _Pictures, budget: int) -> Answers:
    """Return the answers of a row with pictures; `budget` is the number of characters that are left for maps."""
    maps = _maps(pictures.folder, len(pictures.records))
    fits_budget = len(maps or "") <= budget
    return replace(
        _summary(pictures.entry),
        run=pictures.folder.parent.name,
        maps=maps if fits_budget else None,
        answers=tuple(map(_answer, pictures.records)),
        is_omitted=not fits_budget,
        unmapped=sum(record.get("no_map") is True for record in pictures.records),
    )


def _summary(entry: BoardEntry) -> Answers:
    """Return a row without pictures."""
    accuracy = number(entry.row.get(ACCURACY))
    return Answers(
        name=entry.label,
        recipe=entry.recipe,
        accuracy="" if accuracy is None else f"{percent(accuracy)}\u00a0%",
        attention=Attention(fraction(entry.row.get(MASK_CORRECTNESS)), fraction(entry.row.get(UNIFORM))),
    )


def _answer(record: PictureRecord) -> Answer:
    answer = record[ANSWER]
    attention = Attention(fraction(record.get("share")), fraction(record.get("uniform")))
    return Answer(answer, answer == record["label"], attention)


def _question(record: PictureRecord) -> QuestionText:
    scale = number(record.get("scale"))
    return QuestionText(str(record["query"]), str(record["label"]), "" if scale is None else f"{scale:.2f}")


def _images(folder: Path, n: int) -> str | None:
    sheet = read_sheet(folder, IMAGES, n, "RGB", TILE_PIXELS)
    return _uri(sheet) if sheet else None


def _maps(folder: Path, n: int) -> str | None:
    """Return maps as a heat map over the image: transparent at 0, bright yellow with opacity `MAX_OPACITY` at 1."""
    sheet = read_sheet(folder, MAPS, n, "L", MAP_TILE_PIXELS)
    if sheet is None:
        return None
    level = np.round(np.asarray(sheet) / 255 * (LEVELS - 1)).astype(np.uint8)
    heat = Image.fromarray(level)
    part = np.linspace(0, 1, LEVELS)[:, None]
    colours = (1 - part) * np.array([255, 90, 0]) + part * np.array([255, 235, 90])
    heat.putpalette(np.round(colours).astype(np.uint8).tobytes())
    return _uri(heat, transparency=bytes(np.round(255 * MAX_OPACITY * part[:, 0] ** 0.8).astype(np.uint8)))


def _uri(picture: Image.Image, **save_options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True, **save_options)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
