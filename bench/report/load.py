"""Files that a page needs in addition to the results: histories, environments and cards. Damaged ones are skipped."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

from bench.common.json_files import parse_json
from bench.runs.record_types import HistoryEntry
from bench.runs.records import ENVIRONMENT, HISTORY

log = logging.getLogger("bench")

CARD = "README.md"
MAX_CARD_BYTES = 1_000_000
"""Maximal size of a card in bytes."""


def history(run: Path) -> list[HistoryEntry]:
    """Return the epochs of a run; [] if there are none. Lines that are not records are skipped."""
    try:
        lines = (run / HISTORY).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [record for line in lines if _is_entry(record := _parsed(line))]


def _is_entry(value: object) -> TypeGuard[HistoryEntry]:
    return isinstance(value, dict)


def environment(run: Path) -> dict[str, object]:
    """Return environment.json of a run; {} if it is missing or damaged."""
    try:
        found = _parsed((run / ENVIRONMENT).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def find_datasets(places: Iterable[Path], dataset: str) -> list[Path]:
    """Return the folders datasets/<dataset> that exist in these places."""
    if not re.fullmatch(r"\w[\w.-]*", dataset):
        return []
    return [path for place in places if (path := place / "datasets" / dataset).is_dir()]


def card(places: Iterable[Path], dataset: str) -> str | None:
    """Return the card of a data set, from the first place that has it; None if there is none."""
    for folder in find_datasets(places, dataset):
        path = folder / CARD
        try:
            if path.stat().st_size <= MAX_CARD_BYTES:
                return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
    return None


def _parsed(text: str) -> object:
    try:
        value: object = parse_json(text)
    except ValueError as error:
        log.warning("skipped a record that is not JSON: %s", error)
        return None
    return value
