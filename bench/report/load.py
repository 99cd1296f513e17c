"""What a page needs from the disk beside the results: histories, environments, cards. What is damaged is left out."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.common.json_files import parse_json
from bench.runs.records import ENVIRONMENT, HISTORY

log = logging.getLogger("bench")

CARD = "README.md"
MOST = 1_000_000
"""Bytes of a card."""


def history(run: Path) -> list[dict[str, Any]]:
    """The epochs of a run; [] where there are none. Lines that are no records are left out."""
    try:
        lines = (run / HISTORY).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [record for line in lines if isinstance(record := _parsed(line), dict)]


def environment(run: Path) -> dict[str, Any]:
    """environment.json of a run; {} where there is none, or a damaged one."""
    try:
        found = _parsed((run / ENVIRONMENT).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def card(places: Iterable[Path], dataset: str) -> str | None:
    """The card of a data set below the first of these folders that has it as datasets/<dataset>."""
    if not re.fullmatch(r"\w[\w.-]*", dataset):
        return None
    for place in places:
        path = place / "datasets" / dataset / CARD
        try:
            if path.stat().st_size <= MOST:
                return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
    return None


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        log.warning("left out, not JSON: %s", error)
        return None
