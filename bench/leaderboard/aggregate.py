"""Records → a board: one row for each mechanism on each data set, over its seeds. Pure.

Only runs that are alike in everything but the seed share a row; runs on different data sets, recipes, devices or
versions of bench are never averaged. A run that diverged, failed or never ended is counted in `status`, not dropped.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.config import DEFAULT_BASELINE
from bench.evaluation.metric_names import (
    COSTS,
    COUNTS,
    MAPS,
    MASK_CORRECTNESS,
    POINTING,
    PR_AREA,
    SCALES,
    SHOWN_OF_MAPS,
    TPR,
    UNIFORM,
)
from bench.leaderboard.published import published
from bench.leaderboard.statistics import UNKNOWN, Interval, interval, p_value, ranks, student, wilson
from bench.runs.shell_command import build_command
from bench.runs.validation import ROUNDING_TOLERANCES

KEY = ["variant", "dataset", "attn", "recipe", "queries", "precision", "capture", "device", "bench_version"]
"""What the runs of a row share."""
RIVALS = ["variant", "dataset", "recipe", "queries"]
"""What rows share that are compared with each other."""
_ASIDE = ("answers", "config", "request", "init_run", "hardware", "commit", "diagonal_lstm")


def _bounded(names: Iterable[str]) -> list[str]:
    return [f"{name}{bound}" for name in names for bound in ("", "_lo", "_hi")]


COLUMNS = [
    "rank",
    "variant",
    "attn",
    "seeds",
    *_bounded(["accuracy"]),
    "baseline",
    *_bounded(["difference"]),
    "p_value",
    *_bounded(SCALES),
    *COUNTS,
    *_bounded([MASK_CORRECTNESS]),
    UNIFORM,
    *_bounded([TPR, POINTING]),
    PR_AREA,
    *COSTS,
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
    "hardware",
    "precision",
    "capture",
    "diagonal_lstm",
    "bench_version",
    "commits",
    "note",
    "command",
]


def leaderboard(
    results: Iterable[Mapping[str, Any]], variant: str | None = None, baseline: str = DEFAULT_BASELINE
) -> pd.DataFrame:
    """The board of these results, best first within each data set; `variant` keeps one.

    A result is what result.json holds. With it may come `answers`, arrays as in answers.safetensors, for the
    command that does a row's runs again `config`, `request` and `init_run`, see `shell_command.build_command`, and
    `hardware` and `commit`, in words.

    Fractions are in 0 … 1. `accuracy` and the other measures are means over the finished seeds, NaN where a seed has
    none; `…_lo` and `…_hi` bound them with 95 % confidence by `statistics.interval`, over seeds and questions.
    Where answers were not kept accuracy is bounded over one seed, or several of one accuracy, by the test images alone
    (Wilson), over more by the seeds (Student's t). Bounds that are unknown are NaN, such as those of a bin of scale
    that holds one question.
    `difference` is the accuracy less that of the row of `baseline` among the rivals, over the seeds that both have, and
    `p_value` the sign-flip test of it. `rank` is 1 + the number of rivals (rows of one data set, recipe and unit of
    queries) that are distinguishably better: of higher accuracy, and the interval of the paired difference, over the
    seeds that both have, lies above 0. `relative_runtime` is the time of a training step over that of `san`, timed turn
    by turn with it. `diagonal_lstm` names the implementations of the diagonal LSTM that ran; it is empty where the
    network has none, and for runs of versions that did not record it. `delta` is `accuracy` less the published one,
    where the digits are those of the papers.
    """
    rows = [_flat(r) for r in results if variant in (None, r["variant"])]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    runs = pd.DataFrame(rows)
    groups = [group for _, group in runs.groupby(KEY, sort=True, dropna=False)]
    board = pd.DataFrame([_row(group) for group in groups])
    compared = [_compared(board.loc[rivals], groups, baseline) for rivals in board.groupby(RIVALS).groups.values()]
    board = board.join(pd.concat(compared))
    board["rank"] = board["rank"].astype("Int64")
    ascending = [True] * len(RIVALS) + [False, True]
    board = board.sort_values([*RIVALS, "accuracy", "attn"], ascending=ascending, na_position="last")
    return board[COLUMNS].reset_index(drop=True)


def key_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a result shares with the others of its row, by the names in `KEY`."""
    aside = {
        "dataset": f"{result['variant']}-{result['dataset']['spec_id']}",
        "capture": result.get("capture") or "eager",
    }
    return {name: aside.get(name) or result[name] for name in KEY}


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """One run as a row: the data set's parts side by side, missing measures as None."""
    measures = ["accuracy", "n_test", "params", *SCALES, *COUNTS, *SHOWN_OF_MAPS, *COSTS]
    return {
        **key_of(result),
        **{key: result[key] for key in ("seed", "status")},
        **{key: result["dataset"].get(key) or None for key in ("digits", "backgrounds")},
        "note": result.get("note") or None,
        **{key: result.get(key) for key in (*measures, *_ASIDE)},
    }


def _row(runs: pd.DataFrame) -> dict[str, Any]:
    first, done = runs.iloc[0], _done(runs)
    paper = published(first["variant"], first["attn"])
    counts = runs["status"].value_counts()
    status = "ok" if len(done) == len(runs) else ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))
    if twice := len(done) - done["seed"].nunique():
        status, done = f"{status}, {twice} of a seed that counts once", done.drop_duplicates("seed")
    accuracy = done["accuracy"].astype(float).mean() if len(done) else math.nan
    numbers = {name: done[name].astype(float).mean(skipna=False) for name in (*SCALES, *SHOWN_OF_MAPS)}
    numbers |= {name: next((int(n) for n in done[name] if pd.notna(n)), None) for name in COUNTS}
    numbers |= {name: done[name].astype(float).median() for name in (*COSTS, "params")}
    return {
        **{key: first[key] for key in KEY},
        **{key: next((v for v in runs[key] if pd.notna(v)), None) for key in ("digits", "backgrounds", "note")},
        "hardware": _named(done if len(done) else runs, "hardware") or first["device"],
        "diagonal_lstm": _named(done if len(done) else runs, "diagonal_lstm") or None,
        "commits": _named(done if len(done) else runs, "commit") or None,
        "seeds": len(done),
        "accuracy": accuracy,
        **numbers,
        **_bounds(done),
        "params": int(numbers["params"]) if pd.notna(numbers["params"]) else None,
        "published_accuracy": paper.value if paper else math.nan,
        "published_source": paper.source if paper else None,
        "delta": accuracy - paper.value if paper and first["digits"] == "mnist" else math.nan,
        "status": status,
        "command": _command(runs.sort_values("seed", kind="stable").drop_duplicates("seed")),
    }


def _named(runs: pd.DataFrame, name: str) -> str:
    """The different words of a row's runs."""
    return "; ".join(sorted(set(runs[name].dropna())))


def _done(runs: pd.DataFrame) -> pd.DataFrame:
    """Those that ended well, by seed."""
    return runs[runs["status"] == "ok"].sort_values("seed", kind="stable")


def _command(runs: pd.DataFrame) -> str | None:
    config, request, init_runs = (runs[key].tolist() for key in ("config", "request", "init_run"))
    if config[0] is None or not request[0] or (config[0].init and not all(isinstance(name, str) for name in init_runs)):
        return None
    return build_command(config[0], request[0], runs["seed"].tolist(), init_runs if config[0].init else ())


def _bounds(done: pd.DataFrame) -> dict[str, float]:
    """The bounds of every measure of the finished runs; NaN where what they come from is not there."""
    found = dict.fromkeys(("accuracy", *SCALES, *MAPS), UNKNOWN)
    right = _values(done, "right")
    if right is not None:
        found["accuracy"] = interval(right)
        bins = _bins(done, right.shape[1])
        found |= {name: interval(right[:, bins == k]) for k, name in enumerate(SCALES) if (bins == k).any()}
        found |= {name: interval(kept) for name in MAPS if (kept := _values(done, name)) is not None}
    elif len(done):
        found["accuracy"] = _from_means(done["accuracy"].astype(float).tolist(), float(done["n_test"].iloc[0]))
    found = {name: _around(bounds, done, name) for name, bounds in found.items()}
    return {f"{name}_{end}": bound for name, pair in found.items() for end, bound in pair._asdict().items()}


def _bins(done: pd.DataFrame, questions: int) -> np.ndarray:
    """Which bin of scale each question lies in, i8 (T,); −1 for all where the runs do not say, or not the same."""
    unknown = np.full(questions, -1)
    kept = [answers.get("scale_bin", unknown) for answers in done["answers"]]
    alike = all(np.array_equal(bins, kept[0]) for bins in kept) and len(kept[0]) == questions
    return kept[0] if alike else unknown


def _around(bounds: Interval, done: pd.DataFrame, name: str) -> Interval:
    """Bounds drawn out to the mean that the board shows, which was taken before answers were rounded to be kept."""
    mean = done[name].astype(float).mean()
    rounded = ROUNDING_TOLERANCES[name]
    if not bounds.lo - rounded <= mean <= bounds.hi + rounded:  # unknown, or of another origin
        return bounds
    return Interval(min(bounds.lo, float(mean)), max(bounds.hi, float(mean)))


def _from_means(accuracies: list[float], images: float) -> Interval:
    """95 % bounds of the mean accuracy without the answers to each question; seeds that agree leave the questions."""
    return wilson(accuracies[0], images) if len(set(accuracies)) == 1 else student(accuracies)


def _values(done: pd.DataFrame, name: str) -> np.ndarray | None:
    """What every run has of a measure for each question, f8 (S, T); None where one has not, or has other questions."""
    kept = [answers[name] for answers in done["answers"] if answers is not None and name in answers]
    if not kept or len(kept) < len(done) or len({len(array) for array in kept}) > 1:
        return None
    return np.stack(kept).astype(np.float64)


def _compared(board: pd.DataFrame, groups: list[pd.DataFrame], baseline: str) -> pd.DataFrame:
    """Rows of rivals → their `rank`, and how they differ from the baseline's, if it is among them just once."""
    rows = [index for index in board.index if board.at[index, "seeds"]]
    done = {index: _done(groups[index]).drop_duplicates("seed") for index in rows}
    better = [[i != j and _better(board.loc[i], done[i], board.loc[j], done[j]) for j in rows] for i in rows]
    found = pd.DataFrame(index=board.index, columns=["rank", "baseline", *_bounded(["difference"]), "p_value"])
    found.loc[rows, "rank"] = ranks(better)
    bases = [index for index in rows if board.at[index, "attn"] == baseline]
    if len(bases) == 1:
        found["baseline"] = baseline
        for index in rows:
            if index != bases[0]:
                found.loc[index, [*_bounded(["difference"]), "p_value"]] = _difference(done[index], done[bases[0]])
    numbers = [*_bounded(["difference"]), "p_value"]
    return found.astype(dict.fromkeys(numbers, float))


def _better(row: pd.Series, runs: pd.DataFrame, other: pd.Series, others: pd.DataFrame) -> bool:
    """Whether a row is distinguishably better than another one: by what both answered, else by their intervals."""
    if not row["accuracy"] > other["accuracy"]:
        return False
    pair = _paired(runs, others)
    if pair is None:
        return bool(row["accuracy_lo"] > other["accuracy_hi"])
    return interval(pair[0] - pair[1], paired=True).lo > 0


def _difference(runs: pd.DataFrame, others: pd.DataFrame) -> tuple[float, float, float, float]:
    """Mean, bounds and p of the paired difference; NaN where there are no pairs."""
    pair = _paired(runs, others)
    if pair is None:
        return (math.nan,) * 4
    difference = pair[0] - pair[1]
    return float(difference.mean()), *interval(difference, paired=True), p_value(*pair)


def _paired(runs: pd.DataFrame, others: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Right answers of the seeds that both have, f8 (S, T) each."""
    seeds = sorted(set(runs["seed"]) & set(others["seed"]))
    first, second = (_values(part[part["seed"].isin(seeds)], "right") for part in (runs, others))
    if first is None or second is None or first.shape != second.shape:
        return None
    return first, second
