"""Accuracies with their confidence intervals."""

import math

import pytest

from bench.leaderboard.statistics import wilson_interval
from bench.report.intervals import Rate, rate_at_scale, rate_of, values_and_bounds
from tests.bench.report.helpers import copy_run, entry_of, one


def test_a_scale_with_one_question_has_no_interval_where_seeds_differ(runs):
    """Wilson's interval over the answers of all seeds is not used instead."""
    copy_run(one(runs), runs, "s1", seed=1)
    _, entry = entry_of(runs)
    name = "accuracy_scale_0.5_1.0"
    entry.row.update({f"{name}_lo": math.nan, f"{name}_hi": math.nan})
    rate = rate_at_scale(entry, name)
    assert (rate.low, rate.high) == (None, None)


def test_intervals_per_scale_are_from_the_board_or_pooled_over_seeds(runs):
    (copy_run(one(runs), runs, "s1", seed=1) / "answers.safetensors").unlink()
    name, (_, entry) = "accuracy_scale_0.5_1.0", entry_of(runs)
    images = 2 * entry.finished[0]["n_scale_0.5_1.0"]
    rate = rate_at_scale(entry, name)
    assert (rate.low, rate.high) == pytest.approx(wilson_interval(rate.value, images))
    entry.row.update({f"{name}_lo": 0.1, f"{name}_hi": 0.9})
    rate = rate_at_scale(entry, name)
    assert (rate.low, rate.high) == (0.1, 0.9)


def test_rate_is_printed_in_percent_with_its_interval():
    assert str(Rate(0.5, None, None)) == "50.0"
    assert str(Rate(0.6824, 0.601, 0.75)) == "68.2 (60.1–75.0)"


@pytest.mark.parametrize(
    ("row", "rate"),
    [
        ({"accuracy": 0.5, "accuracy_lo": 0.4, "accuracy_hi": 0.6}, Rate(0.5, 0.4, 0.6)),
        ({"accuracy": 0.5, "accuracy_lo": math.nan, "accuracy_hi": 0.6}, Rate(0.5, None, None)),
        ({"accuracy": 0.5}, Rate(0.5, None, None)),
        ({"accuracy": math.nan, "accuracy_lo": 0.4, "accuracy_hi": 0.6}, None),
        ({}, None),
    ],
)
def test_rate_of_a_row_has_both_bounds_or_none(row, rate):
    assert rate_of(row, "accuracy") == rate


def test_ends_are_the_values_and_known_bounds():
    assert values_and_bounds([Rate(0.5, 0.4, 0.6), Rate(0.9, None, None)]) == [0.4, 0.5, 0.6, 0.9]
    assert values_and_bounds([]) == []
