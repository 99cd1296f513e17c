"""Aggregation of results to a board: one row per mechanism and data set, over its seeds. Pure.

Runs share a row only if they differ in nothing but the seed: `bench.leaderboard.row_key` names what must be equal,
such as data set, recipe and device. Versions of bench and processors may differ. Runs that diverged, failed or did not
end are not averaged, but counted in `status`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from bench.attention import NONE
from bench.config import DEFAULT_BASELINE
from bench.evaluation.column import with_suffixes
from bench.evaluation.columns import (
    ACCURACY,
    ATTN,
    BACKGROUNDS,
    BASELINE_NAME,
    BENCH_VERSION,
    COMMAND,
    COMMITS,
    COSTS,
    COUNTS,
    DATASET,
    DELTA,
    DEVICE,
    DEVICE_HOURS,
    DIAGONAL_LSTM,
    DIFFERENCE,
    DIGITS,
    ERROR,
    HARDWARE,
    MAP_METRICS,
    MAP_SCORES,
    N_TEST,
    NOTE,
    OVER_NONE,
    P_VALUE,
    PARAMS,
    PUBLISHED_ACCURACY,
    PUBLISHED_SOURCE,
    QUERIES,
    QUESTIONS_SEEN,
    RANK,
    RECIPE,
    SCALES,
    SEEDS,
    STATUS,
    TOP5,
    VARIANT,
    board_columns,
)
from bench.evaluation.record_keys import FORMAT, IMAGE, OK, RIGHT, RIGHT5, SCALE_BIN
from bench.leaderboard.paired_answers import PairedAnswers, common_array, pair_answers, stack_array
from bench.leaderboard.published import find_published, is_papers_network
from bench.leaderboard.row_key import ROW_KEY, format_of, row_key
from bench.leaderboard.statistics import (
    UNKNOWN,
    Interval,
    bootstrap_interval,
    complement_with_bounds,
    interval_of_accuracies,
    rank_rows,
    sign_flip_p_value,
)
from bench.runs.record_types import RunRecord
from bench.runs.shell_command import build_command
from bench.runs.validation import rounding_tolerance
from mnistref.variants import VARIANTS, is_changed

GROUP_KEY = [VARIANT, DATASET, RECIPE, QUERIES]
"""Columns that are equal in all rows of a comparison group. Only these rows are ranked against each other."""
_COMPARISON = [*with_suffixes([DIFFERENCE]), P_VALUE]
"""Columns with the comparison of a row and the baseline."""
_RECORDED = ("answers", "config", "request", "init_run", HARDWARE, "commit", DIAGONAL_LSTM)
"""Further entries of a result that a row needs, if they are known."""
_TOTALS = (QUESTIONS_SEEN, DEVICE_HOURS)
"""Columns with the size of a training, which an early record may lack."""


def build_board(
    results: Iterable[RunRecord], variant: str | None = None, baseline: str = DEFAULT_BASELINE
) -> pd.DataFrame:
    """Return the board of these results, best first within each data set, whatever the recipe.

    All shares are in 0 … 1. Columns, see `bench.evaluation.columns`:

    - `accuracy` and the other metrics are means over the finished seeds; NaN if a seed lacks the metric.
    - `…_lo` and `…_hi` are the bounds of their 95 % intervals over seeds and questions, see `bootstrap_interval`. If
      answers are not stored, the accuracy has Student's t interval over the seeds; with one seed, or with seeds of
      equal accuracy, it has Wilson's interval over the test images. Unknown bounds are NaN.
    - `difference` is the accuracy minus that of the baseline's row in the same comparison group, over the seeds of
      both, and `p_value` is its sign-flip test.
    - `rank` is 1 + the number of rows in the comparison group that are significantly better: they have a higher
      accuracy, and the interval of the paired difference, over the seeds of both, lies above 0.
    - `error` is 1 − `accuracy`, of images without a question.
    - `relative_runtime` is the time of a training step divided by that of `san` in the same network, timed alternately.
    - `questions_seen` and `device_hours` are medians over the seeds, as the costs are.
    - `diagonal_lstm` names the implementations of the diagonal LSTM that ran, if there was one and it was recorded.
    - `delta` is `accuracy` minus the published accuracy, if the digits are those of the papers. A changed law and
      another network have no published values.

    Args:
        results: the runs, see `bench.runs.records.read_results`.
        variant: only include results on this variant.
        baseline: the mechanism that others are compared with, see `_compare`.
    """
    rows = [_flatten(result) for result in results if variant in (None, result["variant"])]
    columns = board_columns()
    if not rows:
        return pd.DataFrame(columns=columns)
    runs = pd.DataFrame(rows)
    runs_by_row = [group for _, group in runs.groupby([*ROW_KEY, FORMAT], sort=True, dropna=False)]
    board = pd.DataFrame([_summarize(group) for group in runs_by_row])
    groups = board.groupby(GROUP_KEY).groups.values()
    board = board.join(pd.concat([_compare(board.loc[group], runs_by_row, baseline) for group in groups]))
    board[RANK] = board[RANK].astype("Int64")
    board = board.sort_values(
        [VARIANT, DATASET, ACCURACY, ATTN, RECIPE, QUERIES],
        ascending=[True, True, False, True, True, True],
        na_position="last",
    )
    made = board[columns].reset_index(drop=True)
    made.attrs[FORMAT] = tuple(map(int, board[FORMAT]))
    return made


def row_formats(board: pd.DataFrame) -> tuple[int, ...]:
    """Return the format of the results of each row of a board from `build_board`, which no column holds."""
    formats: tuple[int, ...] = board.attrs.get(FORMAT, ())
    return formats


def _flatten(result: RunRecord) -> dict[str, object]:
    """Return a result without nested entries; missing metrics are None."""
    entries: Mapping[str, object] = result
    dataset: Mapping[str, object] = result["dataset"]
    metrics = [ACCURACY, N_TEST, TOP5, PARAMS, *SCALES, *COUNTS, *MAP_METRICS, OVER_NONE, *COSTS]
    return {
        **row_key(result),
        **{key: entries[key] for key in ("seed", STATUS, BENCH_VERSION)},
        FORMAT: format_of(result),
        **{key: dataset.get(key) or None for key in (DIGITS, BACKGROUNDS)},
        NOTE: result.get("note") or None,
        **{key: entries.get(key) for key in (*metrics, *_TOTALS, *_RECORDED)},
    }


def _summarize(runs: pd.DataFrame) -> dict[str, object]:
    """Return the row of the board for the runs that share it, without its comparison with other rows."""
    first, finished = runs.iloc[0], _finished(runs)
    is_other = runs[NOTE].map(is_changed).any() or not is_papers_network(first[RECIPE])
    paper = None if is_other else find_published(first[VARIANT], first[ATTN])
    seeds = finished.drop_duplicates("seed")
    described = seeds if len(seeds) else runs
    asks = first[VARIANT] in VARIANTS and VARIANTS[first[VARIANT]].asks
    accuracy = seeds[ACCURACY].astype(float).mean() if len(seeds) else math.nan
    numbers = {name: seeds[name].astype(float).mean(skipna=False) for name in (TOP5, *SCALES, *MAP_METRICS)}
    numbers |= {name: next((int(n) for n in seeds[name] if pd.notna(n)), None) for name in COUNTS}
    numbers |= {name: seeds[name].astype(float).median() for name in (OVER_NONE, *COSTS, *_TOTALS, PARAMS)}
    return {
        **{key: first[key] for key in (*ROW_KEY, FORMAT)},
        **{key: next((v for v in runs[key] if pd.notna(v)), None) for key in (DIGITS, BACKGROUNDS, NOTE)},
        HARDWARE: _join_values(described, HARDWARE) or first[DEVICE],
        DIAGONAL_LSTM: _join_values(described, DIAGONAL_LSTM) or None,
        BENCH_VERSION: _join_values(runs, BENCH_VERSION),
        COMMITS: _join_values(described, "commit") or None,
        SEEDS: len(seeds),
        ACCURACY: accuracy,
        **numbers,
        **(bounds := _bounds(seeds)),
        **complement_with_bounds(ERROR, *(math.nan if asks else n for n in (accuracy, *list(bounds.values())[:2]))),
        **{name: int(numbers[name]) if pd.notna(numbers[name]) else None for name in (PARAMS, QUESTIONS_SEEN)},
        PUBLISHED_ACCURACY: paper.value if paper else math.nan,
        PUBLISHED_SOURCE: paper.source if paper else None,
        DELTA: accuracy - paper.value if paper and first[DIGITS] == "mnist" else math.nan,
        STATUS: _describe_status(runs, finished),
        COMMAND: _command(runs.sort_values("seed", kind="stable").drop_duplicates("seed")),
    }


def _describe_status(runs: pd.DataFrame, finished: pd.DataFrame) -> str:
    """Return "ok", or how many runs have which status; and how many finished runs repeat a seed."""
    counts = runs[STATUS].value_counts()
    status = OK if len(finished) == len(runs) else ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))
    repeated = len(finished) - finished["seed"].nunique()
    return f"{status}, {repeated} of a seed that counts once" if repeated else status


def _join_values(runs: pd.DataFrame, name: str) -> str:
    """Return the distinct texts in a column of runs, sorted."""
    return "; ".join(sorted(set(runs[name].dropna())))


def _finished(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with the status "ok", by seed."""
    return runs[runs[STATUS] == OK].sort_values("seed", kind="stable")


def _command(runs: pd.DataFrame) -> str | None:
    """Return the shell command that repeats runs; None if their configuration is not known."""
    config, request, init_runs = (runs[key].tolist() for key in ("config", "request", "init_run"))
    if config[0] is None or not request[0] or (config[0].init and not all(isinstance(name, str) for name in init_runs)):
        return None
    return build_command(config[0], request[0], runs["seed"].tolist(), init_runs if config[0].init else ())


def _bounds(runs: pd.DataFrame) -> dict[str, float]:
    """Return the columns with the bounds of every metric of finished runs; NaN if they cannot be computed."""
    bounds = dict.fromkeys((ACCURACY, TOP5, *SCALES, *MAP_SCORES), UNKNOWN)
    right = stack_array(runs["answers"], RIGHT)
    if right is not None:
        images = common_array(runs["answers"], IMAGE)
        bounds[ACCURACY] = bootstrap_interval(right, images=images)
        bins = common_array(runs["answers"], SCALE_BIN)
        for k, name in enumerate(SCALES):
            inside = np.zeros(right.shape[1], bool) if bins is None else bins == k
            if inside.any():
                of_bin = None if images is None else images[inside]
                bounds[name] = bootstrap_interval(right[:, inside], images=of_bin)
        for name, array in {TOP5: RIGHT5, **dict(zip(MAP_SCORES, MAP_SCORES, strict=True))}.items():
            values = stack_array(runs["answers"], array)
            if values is not None:
                bounds[name] = bootstrap_interval(values, images=images)
    elif len(runs):
        bounds[ACCURACY] = interval_of_accuracies(runs[ACCURACY].astype(float).tolist(), float(runs[N_TEST].iloc[0]))
    bounds = {name: _include_mean(interval, runs, name) for name, interval in bounds.items()}
    return {f"{name}_{end}": bound for name, pair in bounds.items() for end, bound in pair._asdict().items()}


def _include_mean(interval: Interval, runs: pd.DataFrame, name: str) -> Interval:
    """Return an interval, extended to the mean of a metric if the mean lies outside only because of rounding.

    The mean on the board was computed before the answers were rounded to be stored.
    """
    mean = float(runs[name].astype(float).mean())
    rounding = rounding_tolerance(name)
    if not interval.lo - rounding <= mean <= interval.hi + rounding:
        return interval
    return Interval(min(interval.lo, mean), max(interval.hi, mean))


def _compare(board: pd.DataFrame, runs_by_row: Sequence[pd.DataFrame], baseline: str) -> pd.DataFrame:
    """Return rank and difference to the baseline for the rows of a comparison group.

    There are differences only if exactly one row has the baseline's mechanism. If none has it, and the images have no
    question, the baseline is `none`.
    """
    rows = [index for index in board.index if board.at[index, SEEDS]]
    runs = {index: _finished(runs_by_row[index]).drop_duplicates("seed") for index in rows}
    better = [
        [i != j and is_significantly_better(board.loc[i], runs[i], board.loc[j], runs[j]) for j in rows] for i in rows
    ]
    compared = pd.DataFrame(index=board.index, columns=[RANK, BASELINE_NAME, *_COMPARISON])
    compared.loc[rows, RANK] = rank_rows(better)
    if baseline not in board[ATTN].values and board[ERROR].notna().any():
        baseline = NONE
    baseline_rows = [index for index in rows if board.at[index, ATTN] == baseline]
    if len(baseline_rows) == 1:
        compared[BASELINE_NAME] = baseline
        for index in rows:
            if index != baseline_rows[0]:
                compared.loc[index, _COMPARISON] = _difference(runs[index], runs[baseline_rows[0]])
    return compared.astype(dict.fromkeys(_COMPARISON, float))


def is_significantly_better(row: pd.Series, runs: pd.DataFrame, other_row: pd.Series, other_runs: pd.DataFrame) -> bool:
    """Return whether a row is significantly better than another one.

    Paired answers decide if both rows have them; otherwise the intervals of the accuracies do.
    """
    if not row[ACCURACY] > other_row[ACCURACY]:
        return False
    pair = _paired_answers(runs, other_runs)
    if pair is None:
        return bool(row["accuracy_lo"] > other_row["accuracy_hi"])
    return bootstrap_interval(pair.difference, paired=True, images=pair.images).lo > 0


def _difference(runs: pd.DataFrame, baseline_runs: pd.DataFrame) -> tuple[float, float, float, float]:
    """Return mean, bounds and p of the paired difference; NaN if there are no pairs."""
    pair = _paired_answers(runs, baseline_runs)
    if pair is None:
        return (math.nan,) * 4
    bounds = bootstrap_interval(pair.difference, paired=True, images=pair.images)
    return float(pair.difference.mean()), *bounds, sign_flip_p_value(*pair)


def _paired_answers(runs: pd.DataFrame, other_runs: pd.DataFrame) -> PairedAnswers | None:
    """Return which answers are right, over the seeds of both; None if there are no pairs."""
    seeds = sorted(set(runs["seed"]) & set(other_runs["seed"]))
    first, second = (part["answers"][part["seed"].isin(seeds)] for part in (runs, other_runs))
    return pair_answers(first, second, RIGHT)
