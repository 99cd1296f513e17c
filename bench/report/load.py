"""Files that a page needs in addition to the results: environments and cards. Damaged ones are skipped."""

import logging
from collections.abc import Iterable
from pathlib import Path

from bench.common.json_files import parse_json
from bench.runs.data_folder import list_data_folders
from bench.runs.question_record import QuestionRecord, Record
from bench.runs.records import ENVIRONMENT
from mnistref.common.errors import DataProblemError

log = logging.getLogger("bench")

CARD = "README.md"
MAX_CARD_BYTES = 1_000_000
"""Maximal size of a card in bytes."""


def environment(run: Path) -> dict[str, object]:
    """Return environment.json of a run; {} if it is missing or damaged."""
    try:
        found = _parse_json((run / ENVIRONMENT).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def read_question_records(runs: Path, names: Iterable[str], kind: QuestionRecord[Record]) -> list[tuple[str, Record]]:
    """Return the name and the record of each run that has one. Damaged records are skipped with a warning.

    Args:
        runs: the folder of the runs.
        names: the runs.
        kind: the kind of record.
    """
    found = []
    for name in names:
        try:
            record = kind.read(runs / name)
        except (DataProblemError, OSError) as error:
            log.warning("skipped: %s", error)
            continue
        if record is not None:
            found.append((name, record))
    return found


def card(places: Iterable[Path], dataset: str) -> str | None:
    """Return the card of a data set, from the first place that has it; None if there is none."""
    for folder in list_data_folders(dataset, places):
        path = folder / CARD
        try:
            if path.stat().st_size <= MAX_CARD_BYTES:
                return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
    return None


def _parse_json(text: str) -> object:
    try:
        value: object = parse_json(text)
    except ValueError as error:
        log.warning("skipped a record that is not JSON: %s", error)
        return None
    return value
