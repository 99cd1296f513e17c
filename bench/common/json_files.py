"""JSON files: written whole, and read with one error for whatever they may hold instead."""

import json
from pathlib import Path
from typing import Any

from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

_DEEPEST = 50
"""How deep the lists and objects of a record may lie in each other; those that are written are 4 deep."""


def write_json(path: Path, value: Any) -> None:
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; a data error where it holds something else, or text that cannot be written."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataProblemError(f"{path}: not JSON ({error}); delete the run and start it again") from error


def parse_json(text: str) -> Any:
    """Return what JSON says; a ValueError for what is none, is too deep, or holds halves of characters."""
    too_deep = f"lists more than {_DEEPEST} deep"
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [value]
    for _ in range(_DEEPEST):
        parts = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [inner for part in parts for inner in part]
    if level:
        raise ValueError(too_deep)
    if "\\u" in text:  # an escaped half of a character, which no file or terminal takes
        json.dumps(value, ensure_ascii=False).encode()
    return value
