"""The board as cells to be shown: headings with their units and meanings, numbers for people and for sorting. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.common.number_format import amount, chance, count, percent, points, ratio, share
from bench.report.groups import number

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A column of the board. `best`: the order that sets the best first, for numbers; None for words.

    `setting`: said once above the table where every row has the same.
    """

    name: str
    heading: str
    meaning: str
    form: Callable[[float], str] | None = None
    best: str = "ascending"
    setting: bool = False


UP, DOWN = "descending", "ascending"
COLUMNS = [
    Column(
        "rank",
        "rank",
        "1 + how many rivals, of its data set, recipe and unit of queries, are distinguishably better.",
        count,
        DOWN,
    ),
    Column("attn", "mechanism", "The attention mechanism in the slots of the network, shallow to deep."),
    Column("variant", "variant", "The law by which images and questions were drawn."),
    Column("seeds", "seeds", "Runs that ended well and are averaged here.", count, UP),
    Column("accuracy", "accuracy, %", "Share of right answers on the test split, with its 95 % interval.", percent, UP),
    Column("baseline", "baseline", "The mechanism that others are compared with.", setting=True),
    Column(
        "difference", "− baseline, points", "Accuracy less the baseline’s, seed by seed, with its interval.", points, UP
    ),
    Column(
        "p_value", "p", "Sign-flip test of that difference: how often chance alone makes one as large.", chance, DOWN
    ),
    Column("mask_correctness", "mask correctness", "Share of the attention on the digit asked about, 0–1.", share, UP),
    Column("mask_correctness_uniform", "uniform", "Mask correctness of a map that is alike everywhere.", share, UP),
    Column("pr_area", "PR area", "Average precision of the maps’ pixels: the area below their curve, 0–1.", share, UP),
    Column("tpr", "TPR", "True-positive ratio: mask correctness of the last slot's map alone, 0–1.", share, UP),
    Column("pointing", "pointing", "How often the maximum of the maps lies on the digit, 0–1.", share, UP),
    Column("relative_runtime", "step, × san", "Time of a training step over that of san of its width.", ratio, DOWN),
    Column("train_step_ms", "step, ms", "Median time of a training step.", amount, DOWN),
    Column("infer_ms_per_image", "inference, ms", "Median time to answer for one image.", amount, DOWN),
    Column("peak_memory_mb", "memory, MB", "The most a training step holds beyond weights and data.", amount, DOWN),
    Column("params", "parameters", "Learned numbers of the whole network.", count, DOWN),
    Column("published_accuracy", "published, %", "What a paper prints for it, with the source.", percent, UP),
    Column(
        *("delta", "− published, points", "Accuracy less the published one, where the digits are the papers’."),
        *(points, UP),
    ),
    Column("status", "status", "ok, or how many runs of the row ended how."),
    Column("dataset", "data set", "The data set's folder: variant and fingerprint."),
    Column(
        "recipe", "recipe", "How the network was trained, and what differs from the recipe's defaults.", setting=True
    ),
    Column("queries", "queries", "One question for each image, or all that can be asked.", setting=True),
    Column("digits", "digits", "Where the digits come from.", setting=True),
    Column("backgrounds", "backgrounds", "Where the photographs come from, if there are any.", setting=True),
    Column("device", "device", "What computed it: the GPU, or cpu.", setting=True),
    Column("hardware", "hardware", "The GPU, or the processor and how many threads of it.", setting=True),
    Column("precision", "precision", "Arithmetic of the products.", setting=True),
    Column("capture", "capture", "How a step is issued to the device.", setting=True),
    Column("diagonal_lstm", "diagonal LSTM", "Which implementation of the diagonal LSTM ran.", setting=True),
    Column("bench_version", "version", "Of bench.", setting=True),
    Column("commits", "commits", "Of bench’s code, where it lay in a checkout.", setting=True),
    Column("command", "repeat it", "The command that makes the row again."),
]
SORTABLE_NOT = ("command",)


@dataclass(frozen=True)
class Cell:
    """`text` is shown, then `extra` in small letters; `value` is what one sorts by, empty where there is none."""

    name: str
    text: str
    value: str
    extra: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    columns: list[Column]
    rows: list[list[Cell]]
    shared: list[tuple[Column, str]]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The known columns that the rows have, less what all rows share, which stands in `shared`."""
    columns = [c for c in COLUMNS if any(row.get(c.name) is not None for row in rows)]
    alike = [c for c in columns if c.setting and len({str(row.get(c.name)) for row in rows}) == 1]
    shown = [c for c in columns if c not in alike]
    return Table(
        shown,
        [[_cell(column, row) for column in shown] for row in rows],
        [(column, str(rows[0][column.name])) for column in alike],
    )


def _cell(column: Column, row: dict[str, Any]) -> Cell:
    value = row.get(column.name)
    if value is None:
        return Cell(column.name, MISSING, "", numeric=column.form is not None)
    if column.form is None:
        return Cell(column.name, str(value), str(value))
    exact = number(float(value)) if not isinstance(value, str) else None
    if exact is None:
        return Cell(column.name, str(value), "", numeric=True)
    return Cell(column.name, column.form(exact), repr(exact), _extra(column, row), numeric=True)


def _extra(column: Column, row: dict[str, Any]) -> str:
    if column.name == "seeds":
        return "†" if row["seeds"] == 1 else ""
    if column.name == "published_accuracy":
        return str(row.get("published_source") or "")
    low, high = (number(row.get(f"{column.name}_{end}")) for end in ("lo", "hi"))
    if low is None or high is None or column.form is None:
        return ""
    return (" … " if column.form is points else "–").join(map(column.form, (low, high)))
