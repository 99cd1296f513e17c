"""Whether a result.json is one, and whether it agrees with the answers beside it. Pure."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.measures import COSTS, COUNTS, MAPS, SCALES, SHOWN_OF_MAPS, STEP

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
_MEASURED = {"accuracy": float, "n_test": int, "params": int, STEP: float}
"""What a result has besides where the run ended well."""
_NUMBERS = (*SCALES, *COUNTS, *SHOWN_OF_MAPS, *(name for name in COSTS if name not in _MEASURED))
"""What a result may hold, and then as a number."""


def malformed(result: Any) -> list[str]:
    """The parts of a result.json that are missing, or of another type than they should be."""
    if not isinstance(result, dict):
        return ["all of it"]
    wanted = ALWAYS | (_MEASURED if result.get("status") == "ok" else {})
    wrong = [name for name, kind in wanted.items() if not isinstance(result.get(name), kind)]
    wrong += [name for name in _NUMBERS if not isinstance(result.get(name), int | float | None)]
    of_set = result["dataset"] if isinstance(result.get("dataset"), dict) else {}
    words = {"dataset": of_set.get("spec_id"), "capture": result.get("capture", ""), "note": result.get("note", "")}
    return wrong + [name for name, word in words.items() if not isinstance(word, str)]


def contradicted(result: Mapping[str, Any], answers: Mapping[str, np.ndarray] | None) -> list[str]:
    """The measures of a result that its answers, see `bench.evaluate.Tested`, would make others."""
    if answers is None or result["status"] != "ok":
        return []
    right, bins = answers["right"], answers.get("scale_bin", np.zeros(0))
    follow = {"n_test": (len(right), 0.0), "accuracy": (right.mean(), 1e-6)}
    for k, (scale, count) in enumerate(zip(SCALES, COUNTS, strict=True)):
        if len(bins) == len(right) and (bins == k).any():
            follow |= {scale: (right[bins == k].mean(), 1e-6), count: ((bins == k).sum(), 0.0)}
    follow |= {name: (answers[name].astype(np.float64).mean(), 1e-3) for name in MAPS if name in answers}
    known = {name: pair for name, pair in follow.items() if result.get(name) is not None}
    return [name for name, (value, near) in known.items() if abs(result[name] - value) > near]
