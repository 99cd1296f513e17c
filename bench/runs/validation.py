"""Whether a result.json is one, and whether it agrees with the answers beside it. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.evaluation.metric_names import COSTS, COUNTS, MAP_METRICS, MAP_SCORES, SCALES, TRAIN_STEP_MS
from mnistref.variants import VARIANTS

ALWAYS = {
    "status": str,
    "attn": str,
    "variant": str,
    "seed": int,
    "recipe": str,
    "queries": str,
    "dataset": dict,
    "device": str,
    "precision": str,
    "bench_version": str,
}
"""What every result has, and as which type."""
ENDS = ("ok", "diverged", "failed")
"""What the status of a result may be."""
_MEASURED = ("accuracy", "n_test", "params", TRAIN_STEP_MS)
"""What a result has besides where the run ended well."""
ROUNDED = dict.fromkeys(("accuracy", *SCALES), 1e-6) | dict.fromkeys(MAP_SCORES, 1e-3)
"""By how much a measure may differ from the mean of its answers, which are rounded to be kept."""
_OVER = 1e-6
"""By how much rounding may lift a share above 1."""
_HIGHEST = 1e12
"""Of milliseconds and megabytes; a larger number is none that was measured."""


def is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Return whether a value of a record is a finite number from `least` to `most`; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e300 < value < 1e300 and least <= value <= most


def is_text(value: Any) -> bool:
    """Return whether a value of a record is text that can be written, shown and read back."""
    return isinstance(value, str) and bool(value) and "\0" not in value


def _is_share(value: Any) -> bool:
    return is_number(value, 0, 1 + _OVER)


def _is_count(value: Any) -> bool:
    return is_number(value, 0, 2**53) and value == int(value)


def _is_time(value: Any) -> bool:
    return is_number(value, 0, _HIGHEST) and value > 0


def _is_size(value: Any) -> bool:
    return is_number(value, 0, _HIGHEST)


_NUMBERS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("accuracy", "val_accuracy", *SCALES, *MAP_METRICS), _is_share),
    "n_test": lambda value: _is_count(value) and value > 0,
    **dict.fromkeys(("params", "epochs", "best_epoch", *COUNTS), _is_count),
    **dict.fromkeys(COSTS, _is_time),
    **dict.fromkeys(("peak_memory_mb", "seconds"), _is_size),
}
"""What a result may hold, and then as such a number."""


def malformed(result: Any) -> list[str]:
    """Return the parts of a result.json that are missing, of another type than they should be, or out of range."""
    if not isinstance(result, dict):
        return ["all of it"]
    texts = [name for name, kind in ALWAYS.items() if kind is str]
    wrong = [name for name in texts if not is_text(result.get(name))]
    wrong += ["status"] if is_text(result.get("status")) and result["status"] not in ENDS else []
    wrong += [
        name
        for name in ("capture", "diagonal_lstm", "note")
        if not (result.get(name) in (None, "") or is_text(result[name]))
    ]
    wrong += [] if type(result.get("seed")) is int and is_number(result["seed"], 0, 2**53) else ["seed"]
    wrong += [] if _is_dataset(result.get("dataset")) else ["dataset"]
    if result.get("status") == "ok":
        wrong += [name for name in _MEASURED if result.get(name) is None]
    numbers = {name: fits for name, fits in _NUMBERS.items() if result.get(name) is not None}
    return wrong + [name for name, fits in numbers.items() if not fits(result[name])]


def _is_dataset(value: Any) -> bool:
    named = isinstance(value, dict) and is_text(value.get("spec_id"))
    return named and all(value.get(name) in (None, "") or is_text(value[name]) for name in ("digits", "backgrounds"))


def other_run(result: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return what a result and the configuration beside it say differently of their run."""
    return [name for name in ("attn", "variant", "seed") if result[name] != config[name]]


def unsound(answers: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the arrays that are not answers of a test, see `bench.evaluation.evaluate.Tested`."""
    right = answers.get("right")
    if right is None or right.ndim != 1 or not len(right):
        return ["right"]
    allowed: dict[str, Callable[[np.ndarray], Any]] = {
        "right": lambda values: np.isin(values, (0, 1)).all(),
        "answer": lambda values: (values >= 0).all() and (values == np.floor(values)).all(),
        "scale_bin": lambda values: np.isin(values, range(-1, len(SCALES))).all(),
        **dict.fromkeys(MAP_SCORES, lambda values: ((values >= 0) & (values <= 1 + ROUNDED[MAP_SCORES[0]])).all()),
    }
    wrong = [name for name, values in answers.items() if values.shape != right.shape]
    known = {name: values for name, values in answers.items() if name in allowed and name not in wrong}
    return wrong + [
        name for name, values in known.items() if values.dtype.kind not in "biuf" or not allowed[name](values)
    ]


def contradicted(result: Mapping[str, Any], answers: Mapping[str, np.ndarray] | None) -> list[str]:
    """Return the measures of a result that its answers, see `bench.evaluation.evaluate.Tested`, would make others.

    The answers count too where they name a class that the variant does not have.
    """
    if answers is None or result["status"] != "ok":
        return []
    right, bins = answers["right"].astype(np.float64), answers.get("scale_bin", np.zeros(0))
    follow = {"n_test": (float(len(right)), 0.0), "accuracy": (right.mean(), ROUNDED["accuracy"])}
    for k, (scale, count) in enumerate(zip(SCALES, COUNTS, strict=True)):
        if len(bins) == len(right):
            inside = bins == k
            follow[count] = (float(inside.sum()), 0.0)
            follow[scale] = (right[inside].mean() if inside.any() else math.nan, ROUNDED[scale])
    follow |= {name: (answers[name].astype(np.float64).mean(), ROUNDED[name]) for name in MAP_SCORES if name in answers}
    known = {name: pair for name, pair in follow.items() if result.get(name) is not None}
    wrong = [name for name, (value, near) in known.items() if not abs(result[name] - value) <= near]
    variant = VARIANTS.get(result["variant"])
    beyond = variant is not None and "answer" in answers and answers["answer"].max() >= variant.classes
    return wrong + ["answer"] * bool(beyond)
