"""Boards stored with the records of their runs, from which every number can be derived again.

    <folder>/board.json    variant and baseline
    <folder>/board.csv     the board; board.md is the same for people
    <folder>/runs/<run>/   config.json, environment.json, history.jsonl, result.json and answers.safetensors.xz of each
                           run, pictures/ with a small copy of its pictures, and saliency.json, attack.json,
                           swap.json, robustness.json and transfer.json with their arrays
    <folder>/maps.csv      the measures of map methods, if a run has saliency.json; maps.md is the same for people
    <folder>/attacks.csv   the effect of attacks, if a run has attack.json; attacks.md is the same for people
    <folder>/swaps.csv     the measures of swapped questions, if a run has swap.json; swaps.md is the same for people
    <folder>/robustness.csv  tests on other data sets, if a run has robustness.json; robustness.md for people
    <folder>/transfers.csv  features on other images, if a run has transfer.json; transfers.md for people

Weights are stored only on request: the answer to each test question is enough for every metric and
interval. `bench show` and `--init` accept a stored run with weights like any other run.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import pandas as pd

from bench.common.json_files import parse_json, read_json, write_json
from bench.config import DEFAULT_BASELINE
from bench.evaluation import picture_files
from bench.evaluation.column import with_suffixes
from bench.evaluation.columns import DEVICE_HOURS, DIAGONAL_LSTM, ERROR, OVER_NONE, QUESTIONS_SEEN, TOP5
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import commands_to_text, from_csv, to_csv, to_text
from bench.leaderboard.question_tables import QUESTION_TABLES, compare_tables
from bench.leaderboard.question_words import describe_columns
from bench.runs import records, saliency_record
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError

log = logging.getLogger("bench")

SELECTION, CSV, MARKDOWN, RUNS = "board.json", "board.csv", "board.md", "runs"
_RECORDS = (records.ENVIRONMENT, records.HISTORY, records.RESULT)
_LATER_COLUMNS = (*with_suffixes([TOP5, ERROR]), OVER_NONE, QUESTIONS_SEEN, DEVICE_HOURS, DIAGONAL_LSTM)
"""Columns that boards of earlier versions do not have."""
_MAX_REPORTED = 3
"""Maximal number of deviations in an error message."""


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
    for table in QUESTION_TABLES:
        table.write(folder, stored)
    return board


def _to_markdown(board: pd.DataFrame) -> str:
    parts = ["# Board", describe_columns(board), to_text(board, markdown=True)]
    return "\n\n".join([*parts, f"```sh\n{commands_to_text(board)}\n```\n"])


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
    for record in (table.record for table in QUESTION_TABLES):
        arrays = record.read_packed(run)
        if arrays is not None and (run / record.settings_file).is_file():
            write_whole(target / record.settings_file, (run / record.settings_file).read_bytes())
            write_whole(target / record.packed_file, arrays)
    if (target / saliency_record.RECORD.settings_file).is_file() and (run / saliency_record.SHEET).is_file():
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
    deviations = compare_tables(folder / CSV, stored, derived)
    if not deviations and markdown != _to_markdown(stored):
        deviations.append(f"{folder / MARKDOWN}: differs from {CSV}; save it again")
    for table in QUESTION_TABLES:
        deviations += table.find_deviations(folder, folder / RUNS)
    return deviations


def _with_later_columns(stored: pd.DataFrame, derived: pd.DataFrame) -> pd.DataFrame:
    """Return a board with the columns that were added since it was saved, if its records have no values for them."""
    missing = [name for name in _LATER_COLUMNS if name not in stored and derived[name].isna().all()]
    others = [name for name in derived.columns if name not in missing]
    return stored.reindex(columns=derived.columns) if missing and list(stored.columns) == others else stored
