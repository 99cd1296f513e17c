"""Boards that are kept: a folder with the board, and with the records of its runs, from which every number follows.

    <folder>/board.json    which variant and baseline
    <folder>/board.csv     the board; board.md the same for people
    <folder>/runs/<run>/   of each run config.json, environment.json, history.jsonl, result.json,
                           answers.safetensors.xz

Pictures are left out, and weights unless they are asked for: an answer to each test question is enough for every
measure and interval. With weights, `bench show` and `--init` take a kept run as they do any other.
"""

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.common.json_files import parse_json
from bench.config import DEFAULT_BASELINE
from bench.leaderboard.aggregate import leaderboard
from bench.leaderboard.formatting import LEGEND, commands, from_csv, to_csv, to_text
from bench.runs import records
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError

log = logging.getLogger("bench")

ABOUT, CSV, MARKDOWN, RUNS = "board.json", "board.csv", "board.md", "runs"
_KEPT = (records.ENVIRONMENT, records.HISTORY, records.RESULT)
_ADDED = ("diagonal_lstm",)
"""Columns that boards of earlier versions do not have."""
_RESAMPLED = ("_lo", "_hi", "p_value")
_NOISE, _ROUNDING = 2e-3, 1e-9
"""By how much a number may differ: of those that are drawn at random from another version of SciPy, and of others."""


def save(
    runs: Path, folder: Path, variant: str | None = None, baseline: str = DEFAULT_BASELINE, weights: bool = False
) -> pd.DataFrame:
    """Make the folder of a board of these runs, or make it anew, with their weights or without. → the board.

    Raises UsageProblemError where the folder holds something else, or there are no runs.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
        raise UsageProblemError(f"{folder}: holds something else than a board; name an empty folder")
    names = [result["run"] for result in records.require_results(runs, variant)]
    kept = folder / RUNS
    if runs.resolve() == kept.resolve():  # which may be all that there is of them
        left_out = sorted({path.parent.name for path in kept.glob(f"*/{records.CONFIG}")} - set(names))
        if left_out:
            raise UsageProblemError(f"{kept}: {', '.join(left_out[:3])} would be lost; give --runs another folder")
    else:
        shutil.rmtree(kept, ignore_errors=True)
        for name in names:
            _copy(runs / name, kept / name, (*_KEPT, records.WEIGHTS) if weights else _KEPT)
    about = {"variant": variant, "baseline": baseline}
    board = _derived(folder, about)
    records.write_json(folder / ABOUT, about)
    write_whole(folder / CSV, to_csv(board).encode())
    write_whole(folder / MARKDOWN, _in_markdown(board).encode())
    return board


def _in_markdown(board: pd.DataFrame) -> str:
    return f"# Board\n\n{LEGEND}\n\n{to_text(board, markdown=True)}\n\n```sh\n{commands(board)}\n```\n"


def _copy(run: Path, to: Path, kept: Sequence[str]) -> None:
    """The records of a run, without the places where things lie on this machine."""
    to.mkdir(parents=True)
    try:
        content, aside = records.split_config(records.read_json(run / records.CONFIG))
        aside.pop(records.USER_FILES, None)
        if isinstance(aside.get(records.INIT_RUN), str):
            aside[records.INIT_RUN] = Path(aside[records.INIT_RUN]).name
        records.write_json(to / records.CONFIG, content | aside)
    except (DataProblemError, FileNotFoundError, TypeError, ValueError) as error:
        log.warning("%s: kept without %s, so that no command repeats it (%s)", to, records.CONFIG, error)
    for name in kept:
        if (run / name).is_file():
            write_whole(to / name, (run / name).read_bytes())
    answers = records.read_packed_answers(run)
    if answers is not None:
        write_whole(to / records.PACKED_ANSWERS, answers)


def _derived(folder: Path, about: dict[str, Any]) -> pd.DataFrame:
    return leaderboard(records.read_results(folder / RUNS), about["variant"], about["baseline"])


def check(place: Path) -> list[str]:
    """Derive every board in or below a folder again from its records. → the folders.

    Raises:
        MismatchProblemError: a number that does not follow, which it names. DataProblemError: a damaged board.
        UsageProblemError: there is no board.
    """
    folders = sorted(path.parent for path in place.rglob(ABOUT))
    if not folders:
        raise UsageProblemError(f"{place}: no board here; make one with `bench leaderboard --save`")
    wrong = [difference for folder in folders for difference in _differences(folder)]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise MismatchProblemError(f"{'; '.join(wrong[:3])}{more}")
    return [str(folder) for folder in folders]


def _differences(folder: Path) -> list[str]:
    """What board.csv says and its records do not, in words."""
    try:
        about = parse_json((folder / ABOUT).read_text(encoding="utf-8"))
        said = from_csv((folder / CSV).read_bytes().decode())  # with line breaks as they are
        markdown = (folder / MARKDOWN).read_bytes().decode()
        derived = from_csv(to_csv(_derived(folder, about)))
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DataProblemError(f"{folder}: not a board ({error}); save it again") from error
    said = _as_now(said, derived)
    if list(said.columns) != list(derived.columns):
        odd = sorted(set(said.columns) ^ set(derived.columns))
        columns = f"{', '.join(odd)} is in one of them alone" if odd else "they stand in another order"
        return [f"{folder / CSV}: other columns than its records give ({columns}); save it again"]
    if len(said) != len(derived):
        return [f"{folder / CSV}: {len(said)} rows, and its records give {len(derived)}"]
    wrong = [
        f"{folder / CSV}: row {row + 1}, {column}: {said.at[row, column]!s}, and its records give {value!s}"
        for column in derived.columns
        for row, value in enumerate(derived[column])
        if not _same(said.at[row, column], value, column)
    ]
    if not wrong and markdown != _in_markdown(said):
        wrong.append(f"{folder / MARKDOWN}: says something else than {CSV} beside it; save it again")
    return wrong


def _as_now(said: pd.DataFrame, derived: pd.DataFrame) -> pd.DataFrame:
    """Return a board with the columns that were added since it was saved, if its records have nothing for them."""
    missing = [name for name in _ADDED if name not in said and derived[name].isna().all()]
    others = [name for name in derived.columns if name not in missing]
    return said.reindex(columns=derived.columns) if missing and list(said.columns) == others else said


def _same(said: Any, derived: Any, column: str) -> bool:
    if pd.isna(said) or pd.isna(derived):
        return bool(pd.isna(said) and pd.isna(derived))
    if isinstance(said, str) or isinstance(derived, str):
        return bool(said == derived)
    near = _NOISE if column.endswith(_RESAMPLED) else _ROUNDING
    return math.isclose(said, derived, rel_tol=_ROUNDING, abs_tol=near)
