"""The section of map methods: a table for each run with a record of `bench saliency`, and the maps of a few images."""

import base64
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from bench.attribution.map_method import EXPLAINED
from bench.attribution.measures import AREAS, MEASURES
from bench.attribution.methods import METHODS
from bench.common.number_format import percent, share
from bench.evaluation.column import BOUNDS, Column
from bench.evaluation.columns import ACCURACY, DATASET
from bench.leaderboard.map_table import build_map_table, find_caution, list_cautions
from bench.leaderboard.question_columns import METHOD
from bench.leaderboard.question_words import count_tested
from bench.report.load import read_question_records
from bench.report.table import MISSING
from bench.runs.saliency_record import RECORD, SHEET, SHEET_IMAGES, SHEET_TILE_PIXELS, SaliencyRecord

log = logging.getLogger("bench")


@dataclass(frozen=True)
class MapRow:
    """A row of the table.

    Attributes:
        method: name of the method.
        caution: whether a caution follows the table.
        cells: value and bounds of each measure.
        strip: source of an image with the maps; "" without maps.
    """

    method: str
    caution: bool
    cells: list[tuple[str, str]]
    strip: str


@dataclass(frozen=True)
class SaliencyTable:
    """The table of a run.

    Attributes:
        title: name of the run.
        questions: how the maps were made.
        columns: the measures.
        rows: the methods.
        cautions: when the scores of methods are misleading.
        images: source of a picture of the explained images; "" without maps.
    """

    title: str
    questions: str
    columns: list[Column]
    rows: list[MapRow]
    cautions: list[str]
    images: str


def saliency_tables(runs: Path, names: Sequence[str]) -> list[SaliencyTable]:
    """Return the table of each run that has a record of map methods. Damaged records are skipped with a warning."""
    found = read_question_records(runs, names, RECORD)
    return [_tabulate(name, record, _read_strips(runs / name)) for name, record in found]


def _tabulate(name: str, record: SaliencyRecord, strips: Sequence[str]) -> SaliencyTable:
    board = build_map_table([(name, record)])
    columns = [column for column in MEASURES if board[column.name].notna().any()]
    drawn = [method for method in board[METHOD] if method in METHODS and not METHODS[method].is_baseline]
    maps = dict(zip(drawn, strips[1:], strict=True)) if len(strips) == 1 + len(drawn) else {}
    rows = []
    for _, row in board.iterrows():
        cells = [_cell(row, column) for column in columns]
        has_caution = bool(find_caution(row[METHOD], row[DATASET]))
        rows.append(MapRow(row[METHOD], has_caution, cells, maps.get(row[METHOD], "")))
    first = board.iloc[0]
    areas = ", ".join(f"{area.removeprefix('area_')} {share(first[area])}" for area in AREAS)
    questions = (
        f"{count_tested(first['images'], first['dataset'])}, {percent(first[ACCURACY])} % right. Explained is "
        f"{EXPLAINED[first['explained']]}. Shares of the image, which a uniform map scores: {areas}."
    )
    return SaliencyTable(
        title=name,
        questions=questions,
        columns=columns,
        rows=rows,
        cautions=list_cautions(board),
        images=strips[0] if maps else "",
    )


def _cell(row: pd.Series, column: Column) -> tuple[str, str]:
    """Return a number and its bounds as text."""
    assert column.number_format is not None
    low, high = (row[f"{column.name}{end}"] for end in BOUNDS)
    if pd.isna(row[column.name]):
        return MISSING, ""
    bounds = "" if pd.isna(low) else f"{column.number_format(low)}–{column.number_format(high)}"
    return column.number_format(row[column.name]), bounds


def _read_strips(run: Path) -> list[str]:
    """Return the rows of the sheet of maps as sources of images; [] if it is missing or damaged."""
    try:
        with Image.open(run / SHEET, formats=["WEBP"]) as sheet:
            width, height = sheet.size
            most = (1 + len(METHODS)) * SHEET_TILE_PIXELS
            if height % SHEET_TILE_PIXELS or height > most or width > SHEET_IMAGES * SHEET_TILE_PIXELS:
                raise ValueError(f"{width} × {height} pixels are not rows of tiles")
            tops = range(0, height, SHEET_TILE_PIXELS)
            return [_source(sheet.crop((0, top, width, top + SHEET_TILE_PIXELS))) for top in tops]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("%s: skipped, %s", run / SHEET, error)
        return []


def _source(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "WEBP", quality=80, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
