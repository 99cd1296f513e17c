"""A board as text: CSV that reads back as it was, and tables for people, in a terminal or in Markdown."""

import io
from typing import Any

import pandas as pd

from bench.statistics import FEW
from mnistref.text import table
from mnistref.variants import VARIANTS

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(board: pd.DataFrame) -> str:
    """The board as CSV; every number reads back as it was.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    return board.map(_harmless).to_csv(index=False, lineterminator="\n")


def from_csv(text: str) -> pd.DataFrame:
    """The inverse of `to_csv`."""
    board = pd.read_csv(io.StringIO(text), dtype=str)
    for name in board:
        try:
            board[name] = board[name].map(float, na_action="ignore").astype(float)
        except ValueError:
            board[name] = board[name].map(_plain)
    return board.astype({name: "Int64" for name in ("rank", "seeds", "params") if name in board})


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) else value


def _plain(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value[:1] == "'" and _harmless(value[1:]) == value else value


def to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """A short table for people: percentages, and below it what must be known to read it."""
    base = next((name for name in board["baseline"] if isinstance(name, str)), None)
    columns = ["#", "variant", "attn", "seeds", "accuracy %", "95 %"]
    columns += [f"− {base}", "95 %", "p"] if base else []
    columns += ["mask", "uniform", "TPR", "pointing", "PR area", "step ms", "× san", "published %", "delta", "source"]
    columns += ["status", "recipe", "queries", "dataset", "device"]
    lines = [columns]
    for row in board.to_dict("records"):
        compared = [_points(row["difference"]), _bounds(row, "difference", _points), _number(row["p_value"], 3)]
        lines.append(
            [
                *(_text(row[name]) for name in ("rank", "variant", "attn", "seeds")),
                _percent(row["accuracy"]),
                _bounds(row, "accuracy", _percent),
                *(compared if base else []),
                *(_number(row[name], 3) for name in ("mask_correctness", "mask_correctness_uniform", "tpr")),
                *(_number(row[name], 3) for name in ("pointing", "pr_area")),
                _number(row["train_step_ms"], 1),
                _number(row["relative_runtime"], 2),
                _percent(row["published_accuracy"]),
                _points(row["delta"]),
                *(
                    _text(row[name])
                    for name in ("published_source", "status", "recipe", "queries", "dataset", "device")
                ),
            ]
        )
    notes = _notes(board)
    return table(lines, markdown) + "\n\n" * bool(notes) + "\n".join(notes)


def commands(board: pd.DataFrame) -> str:
    """For each row the command that repeats it."""
    rows = board[board["command"].notna()].to_dict("records")
    return "\n".join(f"# {row['attn']} on {row['dataset']}, {row['recipe']}\n{row['command']}" for row in rows)


def _notes(board: pd.DataFrame) -> list[str]:
    notes = []
    if board.duplicated([*("variant", "dataset", "recipe", "queries"), "rank"]).any():
        notes.append("rows of one rank (#) are not distinguishable: no paired difference has an interval above zero")
    if (board["seeds"] < FEW).any():
        notes.append(
            f"fewer than {FEW} seeds: intervals see too little of how seeds differ; of one seed, nothing of it"
        )
    known = [name for name in board["variant"].unique() if name in VARIANTS and VARIANTS[name].note]
    return notes + [f"{name} is {VARIANTS[name].note}" for name in known]


def _bounds(row: dict[str, Any], name: str, written: Any) -> str:
    low, high = written(row[f"{name}_lo"]), written(row[f"{name}_hi"])
    return f"{low} … {high}" if low else ""


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _percent(value: float) -> str:
    return _number(100 * value, 1)


def _points(value: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return "" if pd.isna(value) else f"{100 * value:+.1f}".replace("-", "−")


def _number(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"
