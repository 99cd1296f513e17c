"""Checks of result.json and of the answers of a run. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import TypeGuard

import numpy as np

from bench.config import EVALUATED, RunConfig
from bench.evaluation.columns import (
    ACCURACY,
    ATTN,
    BACKGROUNDS,
    BENCH_VERSION,
    CAPTURE,
    COLUMN_BY_NAME,
    COSTS,
    COUNTS,
    DATASET,
    DEVICE,
    DIAGONAL_LSTM,
    DIGITS,
    MAP_METRICS,
    MAP_SCORES,
    N_TEST,
    NOTE,
    OVER_NONE,
    PARAMS,
    PEAK_MEMORY_MB,
    PRECISION,
    QUERIES,
    RECIPE,
    SCALES,
    STATUS,
    TOP5,
    VARIANT,
)
from bench.evaluation.record_keys import (
    ANSWER,
    BEST_EPOCH,
    DIVERGED,
    EPOCHS,
    FAILED,
    FORMAT,
    IMAGE,
    OK,
    RIGHT,
    RIGHT5,
    SCALE_BIN,
    VAL_ACCURACY,
)
from bench.runs.record_types import Result
from mnistref.variants import VARIANTS

REQUIRED_FIELDS: dict[str, type] = {
    STATUS: str,
    ATTN: str,
    VARIANT: str,
    "seed": int,
    RECIPE: str,
    QUERIES: str,
    DATASET: dict,
    DEVICE: str,
    PRECISION: str,
    BENCH_VERSION: str,
}
"""The fields of every result, and their types."""
RESULT_FORMAT = 1
"""Version of the meaning of a result. Results of different formats are never averaged.

It is 1 because every field still means what it meant in version 0.1, whose results lack the version and count as 1.
Raise it when a field is removed, or gets another meaning or type. A new field needs no new format if it is optional,
such as `top5`: results that lack it mean what they meant. `tests/integration/test_result_format.py` fails until the
format is raised, or until the new field is in its golden files.
"""
STATUSES = (OK, DIVERGED, FAILED)
"""The possible values of the field `status`."""
_REQUIRED_MEASURES = (ACCURACY, N_TEST, PARAMS)
"""Fields of the result of a run that succeeded, in addition to `REQUIRED_FIELDS`."""
_REQUIRED_OF_EVALUATED = (ACCURACY, N_TEST)
"""The same of a model that was tested only: it may be a function without parameters, and has no training step."""
_RELATIVE_TOLERANCE, _STORED_TOLERANCE = 1e-6, 1e-3
"""Relative rounding errors of a measure, and of an answer, which is stored as f2."""
_MAX_COST = 1e12
"""Maximal plausible number of milliseconds or megabytes."""


def is_number(value: object, least: float = -math.inf, most: float = math.inf) -> TypeGuard[float]:
    """Return whether a value of a record is a finite number from `least` to `most`. Booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e300 < value < 1e300 and least <= value <= most


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value of a record is text that is not empty and has no null character."""
    return isinstance(value, str) and bool(value) and "\0" not in value


def _allowed_range(name: str, tolerance: float) -> tuple[float, float]:
    """Return the range of a column's numbers, extended by a relative rounding error. A bound of 0 stays 0."""
    value_range = COLUMN_BY_NAME[name].value_range
    if value_range is None:
        return -math.inf, math.inf
    least, most = value_range
    return least - tolerance * abs(least), most + tolerance * abs(most)


def _range_check(name: str) -> Callable[[object], bool]:
    """Return the check that a value of a result is in the range of a column."""
    return lambda value: is_number(value, *_allowed_range(name, _RELATIVE_TOLERANCE))


def rounding_tolerance(name: str) -> float:
    """Return the maximal difference between a measure and the mean of its answers, which have fewer digits.

    Args:
        name: accuracy, accuracy in a scale bin, or one of `MAP_SCORES`.
    """
    if name not in MAP_SCORES:
        return _RELATIVE_TOLERANCE
    return _STORED_TOLERANCE * max([1.0, *map(abs, COLUMN_BY_NAME[name].value_range or ())])


def _is_count(value: object) -> TypeGuard[float]:
    return is_number(value, 0, 2**53) and value == int(value)


def _is_time(value: object) -> bool:
    return is_number(value, 0, _MAX_COST) and value > 0


def _is_size(value: object) -> bool:
    return is_number(value, 0, _MAX_COST)


_NUMBER_CHECKS: dict[str, Callable[[object], bool]] = {
    ACCURACY: _range_check(ACCURACY),
    VAL_ACCURACY: _range_check(ACCURACY),
    **{name: _range_check(name) for name in (TOP5, *SCALES, *MAP_METRICS)},
    N_TEST: lambda value: _is_count(value) and value > 0,
    **dict.fromkeys((PARAMS, EPOCHS, BEST_EPOCH, *COUNTS), _is_count),
    **dict.fromkeys((OVER_NONE, *COSTS), _is_time),
    **dict.fromkeys((PEAK_MEMORY_MB, "seconds"), _is_size),
}
"""Fields of a result that are optional numbers, and the checks of their values."""


def check_result(result: object) -> list[str]:
    """Return the names of the fields of result.json that are missing, have a wrong type, or are out of range."""
    if not isinstance(result, dict):
        return ["all of it"]
    texts = [name for name, kind in REQUIRED_FIELDS.items() if kind is str]
    wrong = [name for name in texts if not is_text(result.get(name))]
    wrong += [STATUS] if is_text(result.get(STATUS)) and result[STATUS] not in STATUSES else []
    wrong += [
        name for name in (CAPTURE, DIAGONAL_LSTM, NOTE) if not (result.get(name) in (None, "") or is_text(result[name]))
    ]
    wrong += [] if type(result.get("seed")) is int and is_number(result["seed"], 0, 2**53) else ["seed"]
    wrong += [] if _is_count(result.get(FORMAT, 1)) else [FORMAT]
    wrong += [] if _is_dataset(result.get(DATASET)) else [DATASET]
    if result.get(STATUS) == OK:
        required = _REQUIRED_OF_EVALUATED if result.get(RECIPE) == EVALUATED.name else _REQUIRED_MEASURES
        wrong += [name for name in required if result.get(name) is None]
    present = {name: is_valid for name, is_valid in _NUMBER_CHECKS.items() if result.get(name) is not None}
    return wrong + [name for name, is_valid in present.items() if not is_valid(result[name])]


def is_result(content: object) -> TypeGuard[Result]:
    """Return whether parsed JSON is a valid content of result.json, see `check_result`."""
    return not check_result(content)


def _is_dataset(value: object) -> bool:
    if not isinstance(value, dict) or not is_text(value.get("spec_id")):
        return False
    return all(value.get(name) in (None, "") or is_text(value[name]) for name in (DIGITS, BACKGROUNDS))


def check_same_run(result: Result, config: RunConfig) -> list[str]:
    """Return the names of the fields in which a result differs from the configuration of its run."""
    is_same = {
        ATTN: result[ATTN] == config.attn,
        VARIANT: result[VARIANT] == config.variant,
        "seed": result["seed"] == config.seed,
    }
    return [name for name, same in is_same.items() if not same]


def are_image_indices(values: np.ndarray) -> bool:
    """Return whether values can be the images of questions (T,): 0 or more, and questions about one image in a row."""
    return bool((values >= 0).all() and (np.diff(values) >= 0).all())


def _answers_check(name: str) -> Callable[[np.ndarray], bool]:
    """Return the check that all answers of a metric of maps are in the range of its column."""
    least, most = _allowed_range(name, _STORED_TOLERANCE)
    return lambda values: bool(((values >= least) & (values <= most)).all())


def check_answers(answers: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the arrays that cannot be answers of a test, see `bench.evaluation.evaluate.TestResult`."""
    right = answers.get(RIGHT)
    if right is None or right.ndim != 1 or not len(right):
        return [RIGHT]
    allowed: dict[str, Callable[[np.ndarray], bool]] = {
        RIGHT: lambda values: bool(np.isin(values, (0, 1)).all()),
        RIGHT5: lambda values: bool(np.isin(values, (0, 1)).all()),
        ANSWER: lambda values: bool((values >= 0).all() and (values == np.floor(values)).all()),
        SCALE_BIN: lambda values: bool(np.isin(values, range(-1, len(SCALES))).all()),
        IMAGE: are_image_indices,
        **{name: _answers_check(name) for name in MAP_SCORES},
    }
    wrong = [name for name, values in answers.items() if values.shape != right.shape]
    known = {name: values for name, values in answers.items() if name in allowed and name not in wrong}
    return wrong + [
        name for name, values in known.items() if values.dtype.kind not in "biuf" or not allowed[name](values)
    ]


def check_against_answers(result: Result, answers: Mapping[str, np.ndarray] | None) -> list[str]:
    """Return the names of the measures of a result that differ from those computed from its answers.

    The list includes "answer" if an answer is a class that the variant does not have.

    Args:
        result: the content of result.json.
        answers: arrays by name, see `bench.evaluation.evaluate.TestResult`; None if the run has none.
    """
    if answers is None or result[STATUS] != OK:
        return []
    right, bins = answers[RIGHT].astype(np.float64), answers.get(SCALE_BIN, np.zeros(0))
    expected = {N_TEST: (float(len(right)), 0.0), ACCURACY: (right.mean(), rounding_tolerance(ACCURACY))}
    if RIGHT5 in answers:
        expected[TOP5] = (answers[RIGHT5].astype(np.float64).mean(), rounding_tolerance(TOP5))
    for k, (scale, count) in enumerate(zip(SCALES, COUNTS, strict=True)):
        if len(bins) == len(right):
            inside = bins == k
            expected[count] = (float(inside.sum()), 0.0)
            expected[scale] = (right[inside].mean() if inside.any() else math.nan, rounding_tolerance(scale))
    expected |= {
        name: (answers[name].astype(np.float64).mean(), rounding_tolerance(name))
        for name in MAP_SCORES
        if name in answers
    }
    measures: Mapping[str, object] = result
    wrong = []
    for name, (value, tolerance) in expected.items():
        measure = measures.get(name)
        is_close = isinstance(measure, int | float) and abs(measure - value) <= tolerance
        if measure is not None and not is_close:
            wrong.append(name)
    variant = VARIANTS.get(result[VARIANT])
    has_unknown_class = variant is not None and ANSWER in answers and answers[ANSWER].max() >= variant.classes
    return wrong + [ANSWER] * bool(has_unknown_class)
