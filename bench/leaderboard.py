"""Records → a board: one row for each mechanism on each data set, over its seeds. Pure.

Only runs that are alike in everything but the seed share a row; runs on different data sets, recipes, devices or
versions of bench are never averaged. A run that diverged, failed or never ended is counted in `status`, not dropped.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bench.published import published
from mnistref.spec import SCALE_BIN_NAMES
from mnistref.text import table
from mnistref.variants import VARIANTS

KEY = ["variant", "dataset", "attn", "recipe", "queries", "precision", "capture", "device", "bench_version"]
"""What the runs of a row share."""
SCALES = [f"accuracy_scale_{name}" for name in SCALE_BIN_NAMES]
MEANS = ["mask_correctness", "mask_correctness_uniform", "tpr", "pointing"]
MEDIANS = ["relative_runtime", "train_step_ms", "infer_ms_per_image", "peak_memory_mb"]
COLUMNS = [
    "rank",
    "variant",
    "attn",
    "seeds",
    "accuracy",
    "accuracy_lo",
    "accuracy_hi",
    *SCALES,
    *MEANS,
    *MEDIANS,
    "params",
    "published_accuracy",
    "published_source",
    "delta",
    "status",
    "recipe",
    "queries",
    "dataset",
    "digits",
    "backgrounds",
    "device",
    "precision",
    "capture",
    "bench_version",
    "note",
]


def leaderboard(results: Iterable[Mapping[str, Any]], variant: str | None = None) -> pd.DataFrame:
    """The board of these results, best first within each data set; `variant` keeps one.

    `accuracy` is the mean over the finished seeds; `accuracy_lo`, `accuracy_hi` bound it with 95 % confidence: over one
    seed by the test images alone (Wilson), over more by the seeds (Student's t). `relative_runtime` is the time of a
    training step over that of `san`, timed turn by turn with it. `rank` is among rows of one data set, recipe and unit
    of queries. `delta` is `accuracy` less the published one, where the digits are those of the papers. Fractions are
    in 0 … 1.
    """
    rows = [_flat(r) for r in results if variant in (None, r["variant"])]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    runs = pd.DataFrame(rows)
    board = pd.DataFrame([_row(group) for _, group in runs.groupby(KEY, sort=True, dropna=False)])
    rivals = ["variant", "dataset", "recipe", "queries"]
    ascending = [True] * len(rivals) + [False, True]
    board = board.sort_values([*rivals, "accuracy", "attn"], ascending=ascending, na_position="last")
    board["rank"] = board.groupby(rivals).cumcount().add(1).where(board["accuracy"].notna()).astype("Int64")
    return board[COLUMNS].reset_index(drop=True)


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """One run as a row: the data set's parts side by side, missing measures as None."""
    data = result["dataset"]
    measures = ["accuracy", "n_test", "params", *SCALES, *MEANS, *MEDIANS]
    return {
        **{
            key: result[key]
            for key in ("attn", "recipe", "queries", "precision", "device", "bench_version", "seed", "status")
        },
        "variant": result["variant"],
        "dataset": f"{result['variant']}-{data['spec_id']}",
        "digits": data.get("digits"),
        "backgrounds": data.get("backgrounds"),
        "note": result.get("note"),
        "capture": result.get("capture", "eager"),
        **{key: result.get(key) for key in measures},
    }


def _row(runs: pd.DataFrame) -> dict[str, Any]:
    first, done = runs.iloc[0], runs[runs["status"] == "ok"]
    accuracies = done["accuracy"].astype(float)
    low, high = _interval(accuracies.tolist(), done["n_test"].tolist())
    accuracy = accuracies.mean() if len(done) else math.nan
    paper = published(first["variant"], first["attn"])
    counts = runs["status"].value_counts()
    status = "ok" if len(done) == len(runs) else ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))
    numbers = {name: done[name].astype(float).mean() for name in (*SCALES, *MEANS)}
    numbers |= {name: done[name].astype(float).median() for name in (*MEDIANS, "params")}
    return {
        **{key: first[key] for key in KEY},
        **{key: next((v for v in runs[key] if v is not None), None) for key in ("digits", "backgrounds", "note")},
        "seeds": len(done),
        "accuracy": accuracy,
        "accuracy_lo": low,
        "accuracy_hi": high,
        **numbers,
        "params": int(numbers["params"]) if len(done) else None,
        "published_accuracy": paper.value if paper else math.nan,
        "published_source": paper.source if paper else None,
        "delta": accuracy - paper.value if paper and first["digits"] == "mnist" else math.nan,
        "status": status,
    }


def _interval(accuracies: list[float], images: list[int]) -> tuple[float, float]:
    """95 % bounds of the mean accuracy; NaN where scipy is missing or no run is finished."""
    try:
        from scipy import stats
    except ImportError:
        return math.nan, math.nan
    if not accuracies:
        return math.nan, math.nan
    if len(accuracies) == 1:
        right = round(accuracies[0] * images[0])
        bounds = stats.binomtest(right, int(images[0])).proportion_ci(0.95, method="wilson")
        return float(bounds.low), float(bounds.high)
    mean, error = float(pd.Series(accuracies).mean()), float(pd.Series(accuracies).sem())
    reach = float(stats.t.ppf(0.975, len(accuracies) - 1)) * error
    return max(0.0, mean - reach), min(1.0, mean + reach)


def to_csv(board: pd.DataFrame) -> str:
    """The board as CSV; every number reads back as it was."""
    return board.to_csv(index=False, lineterminator="\n")


def to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """A short table for people: percentages, and the notes of variants that compare with nothing."""
    columns = ["#", "variant", "attn", "seeds", "accuracy %", "95 %", "mask", "uniform", "TPR", "step ms", "× san"]
    columns += ["published %", "status", "recipe", "queries", "dataset", "device"]
    lines = [columns]
    for row in board.to_dict("records"):
        interval = f"{_percent(row['accuracy_lo'])}–{_percent(row['accuracy_hi'])}"
        lines.append(
            [
                _text(row["rank"]),
                row["variant"],
                row["attn"],
                str(row["seeds"]),
                _percent(row["accuracy"]),
                "" if interval == "–" else interval,
                *(_number(row[name], 3) for name in ("mask_correctness", "mask_correctness_uniform", "tpr")),
                _number(row["train_step_ms"], 1),
                _number(row["relative_runtime"], 2),
                _percent(row["published_accuracy"]),
                *(str(row[name]) for name in ("status", "recipe", "queries", "dataset", "device")),
            ]
        )
    text = table(lines, markdown)
    notes = {
        name: VARIANTS[name].note for name in board["variant"].unique() if name in VARIANTS and VARIANTS[name].note
    }
    gap = "\n\n" if notes else ""
    return text + gap + "\n".join(f"{name} is {note}" for name, note in notes.items())


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _percent(value: float) -> str:
    return _number(100 * value, 1)


def _number(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"
