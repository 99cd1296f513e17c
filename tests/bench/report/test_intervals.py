"""Accuracies with their confidence intervals."""

import math

import pytest

from bench.leaderboard.statistics import wilson_interval
from bench.report.intervals import at_scale
from tests.bench.report.helpers import copy_run, entry_of, one


def test_a_scale_with_one_question_has_no_interval_where_seeds_differ(runs):
    """Wilson's interval over the answers of all seeds is not used instead."""
    copy_run(one(runs), runs, "s1", seed=1)
    _, entry = entry_of(runs)
    name = "accuracy_scale_0.5_1.0"
    entry.row.update({f"{name}_lo": math.nan, f"{name}_hi": math.nan})
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == (None, None)


def test_intervals_per_scale_are_from_the_board_or_pooled_over_seeds(runs):
    (copy_run(one(runs), runs, "s1", seed=1) / "answers.safetensors").unlink()
    name, (_, entry) = "accuracy_scale_0.5_1.0", entry_of(runs)
    images = 2 * entry.finished[0]["n_scale_0.5_1.0"]
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == pytest.approx(wilson_interval(rate.value, images))
    entry.row.update({f"{name}_lo": 0.1, f"{name}_hi": 0.9})
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == (0.1, 0.9)
