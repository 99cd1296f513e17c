"""JSON files, written atomically, and checked when they are read."""

import json
from pathlib import Path

from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

_MAX_DEPTH = 50
"""Maximal nesting of lists and objects. Records nest 4 deep."""


def write_json(path: Path, value: object) -> None:
    """Write a value as a JSON file, atomically."""
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> object:
    """Return the content of a JSON file.

    Raises:
        DataProblemError: the file is not JSON, is nested too deeply, or has text that cannot be encoded.
        OSError: the file cannot be read.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataProblemError(f"{path}: not JSON ({error}); delete the run and start it again") from error


def parse_json(text: str) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or contains unpaired surrogates.
    """
    too_deep = f"lists more than {_MAX_DEPTH} deep"
    try:
        value: object = json.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [value]
    for _ in range(_MAX_DEPTH):
        parts = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [inner for part in parts for inner in part]
    if level:
        raise ValueError(too_deep)
    if "\\u" in text:  # an escaped unpaired surrogate cannot be encoded in UTF-8
        json.dumps(value, ensure_ascii=False).encode()
    return value
