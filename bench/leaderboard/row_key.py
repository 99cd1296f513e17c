"""What runs share that are one row of a board: the columns of its key, and the format of their results. Pure."""

from typing import TypedDict

from bench.evaluation.record_keys import FORMAT
from bench.runs.record_types import Result
from bench.runs.validation import RESULT_FORMAT


class RowKey(TypedDict):
    """The values that all runs of a row share. `dataset` is the name of the folder of the data set."""

    variant: str
    dataset: str
    attn: str
    recipe: str
    queries: str
    precision: str
    capture: str
    device: str


ROW_KEY = tuple(RowKey.__annotations__)
"""Columns that are equal in all runs of a row. Their results also have the same format, see `format_of`."""


def row_key(result: Result) -> RowKey:
    """Return the values of a result that all runs of its row share."""
    return {
        "variant": result["variant"],
        "dataset": f"{result['variant']}-{result['dataset']['spec_id']}",
        "attn": result["attn"],
        "recipe": result["recipe"],
        "queries": result["queries"],
        "precision": result["precision"],
        "capture": result.get("capture") or "eager",
        "device": result["device"],
    }


def computing_text(result: Result) -> str:
    """Return how a row was computed as text, such as "bf16, graph, cuda"; "" for fp32 without capture on a CPU."""
    key = row_key(result)
    usual = (key["precision"], "fp32"), (key["capture"], "eager"), (key["device"], "cpu")
    parts = [value for value, default in usual if value != default]
    parts += [f"result format {format_of(result)}"] * (format_of(result) != RESULT_FORMAT)
    return ", ".join(parts)


def format_of(result: Result) -> int:
    """Return the format of a result, see `bench.runs.validation.RESULT_FORMAT`. Results that lack it have format 1."""
    return result.get(FORMAT, 1)
