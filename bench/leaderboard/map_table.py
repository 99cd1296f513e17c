"""The table of map methods: one row for each network and method, with means and their intervals. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.attribution.explain import ORACLE
from bench.attribution.map_method import EXPLAINED
from bench.attribution.measures import AREAS, MEASURES
from bench.attribution.methods import METHODS
from bench.common.number_format import amount, percent, share
from bench.evaluation.column import with_suffixes
from bench.evaluation.columns import ACCURACY, DATASET
from bench.leaderboard.question_columns import EXPLAINED_CLASS, IMAGES, METHOD, RUN, SECONDS
from bench.leaderboard.question_words import count_tested
from bench.leaderboard.statistics import mean_with_bounds
from bench.runs.saliency_record import SaliencyRecord
from mnistref.common.text_table import table
from mnistref.variants import VARIANTS

_ORDER = (*METHODS, ORACLE)


def build_map_table(records: Iterable[tuple[str, SaliencyRecord]]) -> pd.DataFrame:
    """Return one row for each run and method.

    Args:
        records: name of the run, and its record.

    Returns:
        The columns of `bench.leaderboard.question_columns.MAP_COLUMNS`. NaN where a method has no such measure.
    """
    rows = []
    for run, record in records:
        settings: Mapping[str, Any] = record.settings
        for method in sorted(record.measures, key=list(_ORDER).index):
            measures = record.measures[method]
            row: dict[str, object] = {RUN: run, METHOD: method}
            row |= {name: settings[name] for name in (DATASET, IMAGES, EXPLAINED_CLASS)}
            row[ACCURACY] = float(record.right.mean())
            for column in MEASURES:
                unknown = dict.fromkeys(with_suffixes([column.name]), float("nan"))
                values = measures.get(column.name)
                row |= unknown if values is None else mean_with_bounds(column.name, values)
            row |= {name: float(record.areas[name].mean()) for name in AREAS}
            row[SECONDS] = settings[SECONDS].get(method, float("nan"))
            rows.append(row)
    return pd.DataFrame(rows)


def map_table_to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """Return the tables of all runs, one after the other, each with its notes."""
    return "\n\n".join(_run_to_text(rows, markdown) for _, rows in board.groupby([RUN, DATASET], sort=False))


def _run_to_text(rows: pd.DataFrame, markdown: bool) -> str:
    first = rows.iloc[0]
    tested = f"{count_tested(first[IMAGES], first[DATASET])}, {percent(first[ACCURACY])} % right"
    heading = f"{first[RUN]}: {tested}; explained is {EXPLAINED[first[EXPLAINED_CLASS]]}"
    shown = [column for column in MEASURES if rows[column.name].notna().any()]
    lines = [["map", *(column.text_heading for column in shown), "s / 1,000"]]
    for _, row in rows.iterrows():
        lines.append([row[METHOD] + "*" * bool(find_caution(row[METHOD], row[DATASET]))])
        for column in shown:
            assert column.number_format is not None
            lines[-1].append(column.number_format(row[column.name]) if pd.notna(row[column.name]) else "–")
        lines[-1].append(amount(row[SECONDS]) if pd.notna(row[SECONDS]) else "–")
    areas = "; ".join(f"{name.removeprefix('area_')} {share(first[name])}" for name in AREAS)
    notes = [f"Shares of the image, which a uniform map scores: {areas}."]
    return "\n".join(
        [heading, *[""] * markdown, table(lines, markdown), *[""] * markdown, *notes, *list_cautions(rows)]
    )


def find_caution(method: str, dataset: str) -> str:
    """Return when the scores of a method on a data set are misleading; "" if no such case is known.

    Args:
        method: its name.
        dataset: the folder name of the data set.
    """
    if method not in METHODS or (METHODS[method].on_black and not _is_black(dataset)):
        return ""
    return METHODS[method].caution


def _is_black(dataset: str) -> bool:
    """Return whether images of a data set have a black background; True if this is unknown."""
    variant = VARIANTS.get(dataset.partition("-")[0])
    return variant is None or variant.background != "photo"


def list_cautions(rows: pd.DataFrame) -> list[str]:
    """Return each caution once, after the names of its methods."""
    methods: dict[str, list[str]] = {}
    for method, dataset in zip(rows[METHOD], rows[DATASET], strict=True):
        if caution := find_caution(method, dataset):
            methods.setdefault(caution, []).append(method)
    return [f"* {', '.join(names)}: {caution}" for caution, names in methods.items()]


def randomization_to_text(rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Return the table of `bench.attribution.randomization.cascade`: one line for each randomised layer."""
    methods = list(rows[0][1])
    lines = [["randomised down to", *methods]]
    lines += [[layer, *(f"{found[method]:+.2f}".replace("-", "−") for method in methods)] for layer, found in rows]
    note = (
        "Spearman's correlation of each map with the map of the trained network: 1 means that random weights change "
        "nothing, so that the map does not show what the network has learned."
    )
    return f"{table(lines)}\n{note}"
