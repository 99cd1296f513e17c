"""Boards stored with the records of their runs, from which every number can be derived again.

    <folder>/board.json    variant and baseline
    <folder>/board.csv     the board; board.md is the same for people
    <folder>/runs/<run>/   config.json, environment.json, history.jsonl, result.json and answers.safetensors.xz of each
                           run, pictures/ with a small copy of its pictures, and saliency.json, attack.json,
                           swap.json and robustness.json with their arrays
    <folder>/maps.csv      the measures of map methods, if a run has saliency.json; maps.md is the same for people
    <folder>/robustness.csv  tests on other data sets, if a run has robustness.json; robustness.md likewise

Weights are stored only on request: the answer to each test question is enough for every metric and
interval. `bench show` and `--init` accept a stored run with weights like any other run.
"""

import io
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from bench.common.json_files import parse_json, read_json, write_json
from bench.config import DEFAULT_BASELINE
from bench.evaluation import picture_files
from bench.evaluation.column import BOUNDS
from bench.evaluation.columns import DIAGONAL_LSTM, P_VALUE
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import LEGEND, commands_to_text, from_csv, to_csv, to_text
from bench.leaderboard.map_table import build_map_table, map_table_to_text
from bench.leaderboard.robustness_table import build_robustness_table, robustness_table_to_text
from bench.runs import attack_record, records, robustness_record, saliency_record, swap_record
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError

log = logging.getLogger("bench")

SELECTION, CSV, MARKDOWN, RUNS = "board.json", "board.csv", "board.md", "runs"
_RECORDS = (records.ENVIRONMENT, records.HISTORY, records.RESULT)
_QUESTION_FILES = (saliency_record.FILE, attack_record.FILE, swap_record.FILE, robustness_record.FILE)
"""Records of further commands on a run, which are stored with it."""
_LATER_COLUMNS = (DIAGONAL_LSTM,)
"""Columns that boards of earlier versions do not have."""
_RESAMPLED_SUFFIXES = (*BOUNDS, P_VALUE)
_RESAMPLING_TOLERANCE, _ROUNDING_TOLERANCE = 2e-3, 1e-9
"""Allowed deviation of numbers from resampling, which depend on the version of SciPy, and of all other numbers."""
_MAX_REPORTED = 3
"""Maximal number of deviations in an error message."""


@dataclass(frozen=True)
class _Table:
    """A further table of a board, which exists if a run has the record that it is derived from.

    Attributes:
        name: name of the CSV and of the Markdown file.
        title: heading of the Markdown file.
        settings: name of the record's JSON file.
        build: returns the table of the records in some folders.
        to_text: returns the table for people, in Markdown if the second argument is true.
    """

    name: str
    title: str
    settings: str
    build: Callable[[Sequence[Path]], pd.DataFrame]
    to_text: Callable[[pd.DataFrame, bool], str]

    def paths(self, folder: Path) -> tuple[Path, Path]:
        """Return the CSV and the Markdown file of a board."""
        return folder / f"{self.name}.csv", folder / f"{self.name}.md"

    def derive(self, folder: Path) -> pd.DataFrame:
        """Return the table that follows from the stored records of a board; empty if there are none."""
        return self.build(sorted(path.parent for path in (folder / RUNS).glob(f"*/{self.settings}")))

    def to_markdown(self, board: pd.DataFrame) -> str:
        """Return the text of the Markdown file."""
        return f"# {self.title}\n\n{self.to_text(board, True)}\n" if len(board) else ""


def _build_maps(runs: Sequence[Path]) -> pd.DataFrame:
    found = [(run.name, saliency_record.read_record(run)) for run in runs]
    return build_map_table((name, record) for name, record in found if record is not None)


def _build_robustness(runs: Sequence[Path]) -> pd.DataFrame:
    found = [(run.name, robustness_record.read_record(run)) for run in runs]
    return build_robustness_table((name, record) for name, record in found if record is not None)


TABLES = (
    _Table("maps", "Maps", saliency_record.SETTINGS, _build_maps, map_table_to_text),
    _Table("robustness", "Robustness", robustness_record.SETTINGS, _build_robustness, robustness_table_to_text),
)


class Selection(TypedDict):
    """The content of board.json."""

    variant: str | None
    baseline: str


def save_snapshot(
    runs: Path, folder: Path, variant: str | None = None, baseline: str = DEFAULT_BASELINE, weights: bool = False
) -> pd.DataFrame:
    """Write a board and the records of its runs into a folder, and return the board. An older board is replaced.

    Args:
        runs: the folder of the runs.
        folder: the folder of the board.
        variant: only include runs on this variant.
        baseline: the mechanism that others are compared with.
        weights: whether to store the weights of the networks.

    Raises:
        UsageProblemError: the folder has other content, or there are no runs.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / SELECTION).is_file():
        raise UsageProblemError(f"{folder}: not empty, and not a board; give an empty folder")
    names = [result["run"] for result in records.read_nonempty_results(runs, variant)]
    stored = folder / RUNS
    if runs.resolve() == stored.resolve():  # these may be the only copies of the runs
        lost = sorted({path.parent.name for path in stored.glob(f"*/{records.CONFIG}")} - set(names))
        if lost:
            raise UsageProblemError(
                f"{stored}: saving would delete {', '.join(lost[:_MAX_REPORTED])}; save the board into another folder"
            )
    else:
        shutil.rmtree(stored, ignore_errors=True)
        for name in names:
            _copy_run(runs / name, stored / name, (*_RECORDS, records.WEIGHTS) if weights else _RECORDS)
    selection = Selection(variant=variant, baseline=baseline)
    board = _derive(folder, selection)
    write_json(folder / SELECTION, selection)
    write_whole(folder / CSV, to_csv(board).encode())
    write_whole(folder / MARKDOWN, _to_markdown(board).encode())
    for further in TABLES:
        _write_table(folder, further)
    return board


def _write_table(folder: Path, further: _Table) -> None:
    """Write a further table, or remove it if no run has its record."""
    derived = further.derive(folder)
    for path, text in zip(further.paths(folder), (to_csv(derived), further.to_markdown(derived)), strict=True):
        if len(derived):
            write_whole(path, text.encode())
        else:
            path.unlink(missing_ok=True)


def _to_markdown(board: pd.DataFrame) -> str:
    return f"# Board\n\n{LEGEND}\n\n{to_text(board, markdown=True)}\n\n```sh\n{commands_to_text(board)}\n```\n"


def _copy_run(run: Path, target: Path, files: Sequence[str]) -> None:
    """Copy the records of a run, without paths on this machine, and a small copy of its pictures."""
    target.mkdir(parents=True)
    try:
        content, aside = records.split_config(read_json(run / records.CONFIG))
        for name in (records.USER_FILES, records.DATA_FOLDER):
            aside.pop(name, None)
        if isinstance(init := aside.get(records.INIT_RUN), str):
            aside[records.INIT_RUN] = Path(init).name
        write_json(target / records.CONFIG, content | aside)
    except (DataProblemError, FileNotFoundError, TypeError, ValueError) as error:
        log.warning("%s: stored without %s, so the board has no command for it (%s)", target, records.CONFIG, error)
    for name in files:
        if (run / name).is_file():
            write_whole(target / name, (run / name).read_bytes())
    answers = records.read_packed_answers(run)
    if answers is not None:
        write_whole(target / records.PACKED_ANSWERS, answers)
    for file in _QUESTION_FILES:
        arrays = file.read_packed(run)
        if arrays is not None and (run / file.settings).is_file():
            write_whole(target / file.settings, (run / file.settings).read_bytes())
            write_whole(target / file.packed_file, arrays)
    if (target / saliency_record.SETTINGS).is_file() and (run / saliency_record.SHEET).is_file():
        write_whole(target / saliency_record.SHEET, (run / saliency_record.SHEET).read_bytes())
    picture_files.copy_small(run / picture_files.FOLDER, target / picture_files.FOLDER)


def _derive(folder: Path, selection: Selection) -> pd.DataFrame:
    """Return the board that follows from the stored records."""
    return build_board(records.read_results(folder / RUNS), selection["variant"], selection["baseline"])


def rederive_boards(place: Path) -> list[str]:
    """Derive every board in or below a folder again from its records, and return the folders of the boards.

    Raises:
        MismatchProblemError: a number does not follow from the records; the message names it.
        DataProblemError: a board is damaged.
        UsageProblemError: there is no board.
    """
    folders = sorted(path.parent for path in place.rglob(SELECTION))
    if not folders:
        raise UsageProblemError(f"{place}: no board here; make one with `bench leaderboard --save`")
    deviations = [deviation for folder in folders for deviation in _deviations(folder)]
    if deviations:
        hidden = len(deviations) - _MAX_REPORTED
        more = f"; and {hidden} more" if hidden > 0 else ""
        raise MismatchProblemError(f"{'; '.join(deviations[:_MAX_REPORTED])}{more}")
    return [str(folder) for folder in folders]


def _read_selection(folder: Path) -> Selection:
    """Return the content of board.json; raise KeyError, TypeError or ValueError if it is not a selection."""
    content = parse_json((folder / SELECTION).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"{SELECTION} is not an object")
    return Selection(variant=content["variant"], baseline=content["baseline"])


def _deviations(folder: Path) -> list[str]:
    """Return in words how the tables of a board deviate from the stored records."""
    try:
        selection = _read_selection(folder)
        stored = from_csv((folder / CSV).read_bytes().decode())  # read_text would change line breaks
        markdown = (folder / MARKDOWN).read_bytes().decode()
        derived = from_csv(to_csv(_derive(folder, selection)))
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DataProblemError(f"{folder}: not a board ({error}); save it again") from error
    stored = _with_later_columns(stored, derived)
    deviations = _compare(folder / CSV, stored, derived)
    if not deviations and markdown != _to_markdown(stored):
        deviations.append(f"{folder / MARKDOWN}: differs from {CSV}; save it again")
    return deviations + [deviation for further in TABLES for deviation in _table_deviations(folder, further)]


def _table_deviations(folder: Path, further: _Table) -> list[str]:
    """Return in words how the files of a further table deviate from the stored records."""
    derived, (csv, markdown) = further.derive(folder), further.paths(folder)
    present = [path for path in (csv, markdown) if path.is_file()]
    if not len(derived):
        return [f"{path}: no run of this board has {further.settings}; delete it" for path in present]
    if len(present) < 2:
        return [f"{folder}: without {csv.name} or {markdown.name}, though runs have {further.settings}; save it again"]
    try:
        stored = pd.read_csv(io.StringIO(csv.read_bytes().decode()))
    except ValueError as error:
        raise DataProblemError(f"{csv}: not a table ({error}); save the board again") from error
    deviations = _compare(csv, stored, pd.read_csv(io.StringIO(to_csv(derived))))
    if not deviations and markdown.read_bytes().decode() != further.to_markdown(stored):
        deviations.append(f"{markdown}: differs from {csv.name}; save the board again")
    return deviations


def _compare(path: Path, stored: pd.DataFrame, derived: pd.DataFrame) -> list[str]:
    """Return in words how a stored table deviates from the one that its records give."""
    if list(stored.columns) != list(derived.columns):
        odd = sorted(set(stored.columns) ^ set(derived.columns))
        difference = f"only one of them has {', '.join(odd)}" if odd else "their order differs"
        return [f"{path}: its columns differ from those of its records ({difference}); save it again"]
    if len(stored) != len(derived):
        return [f"{path}: has {len(stored)} rows, but its records give {len(derived)}; save it again"]
    return [
        f"{path}: row {row + 1}, {column}: {stored.at[row, column]!s}, but its records give {value!s}"
        for column in derived.columns
        for row, value in enumerate(derived[column])
        if not _is_same(stored.at[row, column], value, column)
    ]


def _with_later_columns(stored: pd.DataFrame, derived: pd.DataFrame) -> pd.DataFrame:
    """Return a board with the columns that were added since it was saved, if its records have no values for them."""
    missing = [name for name in _LATER_COLUMNS if name not in stored and derived[name].isna().all()]
    others = [name for name in derived.columns if name not in missing]
    return stored.reindex(columns=derived.columns) if missing and list(stored.columns) == others else stored


def _is_same(stored: Any, derived: Any, column: str) -> bool:
    """Return whether two values are equal, up to rounding and resampling."""
    if pd.isna(stored) or pd.isna(derived):
        return bool(pd.isna(stored) and pd.isna(derived))
    if isinstance(stored, str) or isinstance(derived, str):
        return bool(stored == derived)
    tolerance = _RESAMPLING_TOLERANCE if column.endswith(_RESAMPLED_SUFFIXES) else _ROUNDING_TOLERANCE
    return math.isclose(stored, derived, rel_tol=_ROUNDING_TOLERANCE, abs_tol=tolerance)
