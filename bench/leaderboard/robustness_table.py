"""The table of tests on other data sets: each measure, and its difference from the run's own test set. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from bench.common.number_format import more, percent, points, share
from bench.evaluation.column import BOUNDS
from bench.evaluation.columns import ACCURACY, MASK_CORRECTNESS, POINTING, UNIFORM
from bench.evaluation.record_keys import IMAGE
from bench.leaderboard.question_columns import format_with_bounds
from bench.leaderboard.statistics import UNKNOWN, Interval, bootstrap_interval, difference_interval, mean_with_bounds
from bench.runs.other_sets import FACTOR_WORDS, describe_difference
from bench.runs.robustness_record import MEASURED, RobustnessRecord
from mnistref.common.text_table import table

RUN, DATASET, SPLIT, DIFFERS, QUESTIONS, PAIRS = "run", "dataset", "split", "differs", "questions", "pairs"
OWN = "own test set"
"""The split of the first row of each run in words."""
_DIFFERENCE = "_difference"
Arrays = Mapping[str, np.ndarray]
"""The values of questions, f8 (T,), by name."""
_FORMATS: dict[str, tuple[str, Callable[[float], str], Callable[[float], str]]] = {
    ACCURACY: ("right answers, %", percent, points),
    MASK_CORRECTNESS: ("mask correctness", share, more),
    POINTING: ("maximum of the map on the digit, %", percent, points),
}
"""Measure → heading, format of its values, format of its differences."""


def build_robustness_table(records: Iterable[tuple[str, RobustnessRecord]]) -> pd.DataFrame:
    """Return, for each run, one row for its own test set and one for each other data set.

    Args:
        records: name of the run, and its record.

    Returns:
        Columns: run, dataset, split, differs (in words, from the run's own data set, or among the other sets if the own
            one is unknown), questions, pairs (number of questions that both sets share; 0 if the samples are
            independent), the measures `MEASURED` with their bounds, the difference of each from the run's own test set
            with its bounds, and what a uniform map scores. NaN where the network has no map. A difference of pairs is
            the mean over the shared questions.
    """
    rows: list[dict[str, object]] = []
    for run, record in records:
        own = _means(record.own)
        base: dict[str, object] = {RUN: run, DATASET: record.settings["dataset"], SPLIT: OWN, DIFFERS: "", PAIRS: 0}
        uniform = math.nan if record.own_uniform is None else record.own_uniform
        known = record.settings["factors"] or _varying_factors([each["factors"] for each in record.settings["sets"]])
        rows.append({**base, QUESTIONS: len(record.own[MEASURED[ACCURACY]]), **_row(own, {}), UNIFORM: uniform})
        for tested, arrays in zip(record.settings["sets"], record.others, strict=True):
            values = _means(arrays)
            differences = {
                name: _difference(record.own, arrays, MEASURED[name], tested["pairs"])
                for name in values.keys() & own.keys()
            }
            where: dict[str, object] = {RUN: run, DATASET: tested["dataset"], SPLIT: tested["split"]}
            where |= {QUESTIONS: tested["questions"], PAIRS: tested["pairs"]}
            differs = describe_difference(tested["factors"], known)
            mean = float(arrays[UNIFORM].mean()) if UNIFORM in arrays else math.nan
            rows.append({**where, DIFFERS: differs, **_row(values, differences), UNIFORM: mean})
    names = [RUN, DATASET, SPLIT, DIFFERS, QUESTIONS, PAIRS, *_row({}, {}), UNIFORM]
    return pd.DataFrame(rows, columns=names)


def _varying_factors(factors: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the factors in which data sets differ among each other, each with a value that none of them has."""
    return {name: ... for name in FACTOR_WORDS if any(one[name] != factors[0][name] for one in factors)}


def _row(
    values: Mapping[str, Mapping[str, float]], differences: Mapping[str, tuple[float, Interval]]
) -> dict[str, float]:
    """Return the columns of all measures; NaN for those without a value."""
    row: dict[str, float] = {}
    for name in MEASURED:
        row |= values.get(name, dict.fromkeys((name, *(f"{name}{end}" for end in BOUNDS)), math.nan))
        mean, bounds = differences.get(name, (math.nan, UNKNOWN))
        row |= {f"{name}{_DIFFERENCE}": mean}
        row |= {f"{name}{_DIFFERENCE}{end}": bound for end, bound in zip(BOUNDS, bounds, strict=True)}
    return row


def _means(arrays: Arrays) -> dict[str, dict[str, float]]:
    """Return measure → its mean and bounds."""
    present = {name: arrays[array] for name, array in MEASURED.items() if array in arrays}
    return {name: mean_with_bounds(name, values, images=arrays.get(IMAGE)) for name, values in present.items()}


def _difference(own: Arrays, other: Arrays, name: str, pairs: int) -> tuple[float, Interval]:
    """Return the difference of the means of an array, other − own, and its interval.

    Args:
        own: the values of the run's own test questions.
        other: those of another data set.
        name: name of the array.
        pairs: number of the first questions that both have in common; 0 if the samples are independent.
    """
    if pairs:
        differences = other[name][:pairs] - own[name][:pairs]
        images = other[IMAGE][:pairs] if IMAGE in other else None
        return float(differences.mean()), bootstrap_interval(differences[None], paired=True, images=images)
    mean, own_mean = float(other[name].mean()), float(own[name].mean())
    bounds, own_bounds = (bootstrap_interval(each[name][None], images=each.get(IMAGE)) for each in (other, own))
    return mean - own_mean, difference_interval(mean, bounds, own_mean, own_bounds)


def select_sets(board: pd.DataFrame, datasets: Sequence[str], split: str) -> pd.DataFrame:
    """Return the rows of the run's own test set and of some data sets, in the order of their names."""
    own = board[board[SPLIT] == OWN]
    parts = [board[(board[DATASET] == name) & (board[SPLIT] == split)] for name in datasets]
    return pd.concat([own, *parts], ignore_index=True)


def robustness_table_to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """Return the tables of all runs, one after the other, each with its notes."""
    named = board.assign(**{DIFFERS: board[DIFFERS].fillna("")})  # an empty text is missing in a file
    return "\n\n".join(_run_to_text(rows, markdown) for _, rows in named.groupby(RUN, sort=False))


def _run_to_text(rows: pd.DataFrame, markdown: bool) -> str:
    gap = [""] * markdown
    parts = [f"{rows.iloc[0][RUN]}: its own test set, and other data sets", *gap, table(_sets(rows), markdown)]
    for name, (heading, number_format, difference_format) in _FORMATS.items():
        if rows[name].isna().all():
            continue
        has_uniform = name == MASK_CORRECTNESS
        lines = [["data set", heading, *(["uniform map"] if has_uniform else []), "difference", "samples"]]
        for _, row in rows.iterrows():
            cells = [_label(row), _with_bounds(row, name, number_format)]
            cells += [share(row[UNIFORM])] if has_uniform else []
            samples = "" if row[SPLIT] == OWN else f"{row[PAIRS]:,} pairs" if row[PAIRS] else "independent"
            lines.append([*cells, _with_bounds(row, f"{name}{_DIFFERENCE}", difference_format), samples])
        parts += ["", table(lines, markdown)]
    notes = (
        "Brackets: 95 % intervals over questions. Differences are from the run's own test set, in points for "
        "percentages. Pairs are the same question about the same digits in both sets; the difference is the mean over "
        "them."
    )
    return "\n".join([*parts, "", notes])


def _sets(rows: pd.DataFrame) -> list[list[str]]:
    """Return the cells of the table of the data sets."""
    lines = [["data set", "split", "questions", "differs in"]]
    return lines + [[row[DATASET], row[SPLIT], f"{row[QUESTIONS]:,}", row[DIFFERS]] for _, row in rows.iterrows()]


def _label(row: pd.Series) -> str:
    return str(row[SPLIT] if row[SPLIT] == OWN else row[DIFFERS] or row[DATASET])


def _with_bounds(row: pd.Series, name: str, number_format: Callable[[float], str]) -> str:
    return "" if pd.isna(row[name]) else format_with_bounds(row, name, number_format)
