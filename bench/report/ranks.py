"""Ranks of the rows of a data set, over all recipes. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.evaluation.columns import ACCURACY, RANK, RECIPE
from bench.leaderboard.aggregate import is_significantly_better
from bench.leaderboard.statistics import rank_rows

Row = Mapping[str, Any]
Runs = Sequence[Mapping[str, Any]]


def ranks(rows: Sequence[Row], finished: Sequence[Runs]) -> list[int | None]:
    """Return the rank of each row: 1 + the number of rows that are significantly more accurate.

    Rows of one recipe have the ranks of the board. Otherwise the ranks are computed in the same way for all rows.

    Args:
        rows: the rows of a data set, whose networks answer the same questions.
        finished: the finished runs of each row.

    Returns:
        The ranks; None for a row without an accuracy.
    """
    if len({row[RECIPE] for row in rows}) == 1:
        return [row[RANK] for row in rows]
    ranked = [k for k, row in enumerate(rows) if row[ACCURACY] is not None and finished[k]]
    numbers = [pd.Series({name: math.nan if value is None else value for name, value in row.items()}) for row in rows]
    answers = [_answers(runs) for runs in finished]
    better = [
        [i != j and is_significantly_better(numbers[i], answers[i], numbers[j], answers[j]) for j in ranked]
        for i in ranked
    ]
    found = dict(zip(ranked, rank_rows(better), strict=True))
    return [found.get(k) for k in range(len(rows))]


def rank_texts(numbers: Sequence[int | None]) -> list[str]:
    """Return ranks as text, such as "2", or "2=" if several rows have this rank; "" for None."""
    uses = Counter(numbers)
    return ["" if rank is None else f"{rank}{'=' * (uses[rank] > 1)}" for rank in numbers]


def _answers(runs: Runs) -> pd.DataFrame:
    """Return seed and answers of the first run of each seed."""
    table = pd.DataFrame({name: [run.get(name) for run in runs] for name in ("seed", "answers")}, dtype=object)
    return table.drop_duplicates("seed")
