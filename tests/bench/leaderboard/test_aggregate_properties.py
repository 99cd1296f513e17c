"""Properties of the leaderboard of any runs, checked on random results."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.evaluation.columns import MAP_SCORES, SCALES
from bench.leaderboard import statistics
from bench.leaderboard.aggregate import build_board
from tests.bench.leaderboard.helpers import result, rows
from tests.bench.record_strategies import RIGHT

MECHANISMS = ("san", "pan", "pan-ctx", "arnn", "none")


@st.composite
def any_runs(draw) -> list[dict]:
    """Draw results of a data set: any mechanisms, seeds, questions and scale bins, with ties and constant values."""
    questions = draw(st.one_of(st.integers(1, 30), st.integers(31, 300)))
    bins = np.random.default_rng(draw(st.integers(0, 99))).integers(-1, draw(st.integers(0, 5)), questions)
    made = []
    for attn in draw(st.lists(st.sampled_from(MECHANISMS), min_size=1, max_size=4, unique=True)):
        pattern, key = RIGHT[draw(st.sampled_from(sorted(RIGHT)))], draw(st.integers(0, 9))
        stored = draw(st.sampled_from([True, True, True, False]))
        for seed in draw(st.lists(st.integers(0, 6), min_size=1, max_size=5, unique=True)):
            right = pattern(np.random.default_rng([seed, key]), questions, seed)
            score = np.random.default_rng([key, seed]).random(questions) * right
            answers = {"right": right.astype(np.uint8), "scale_bin": bins.astype(np.int8)}
            answers |= {name: score.astype(np.float16) for name in MAP_SCORES}
            metrics = {name: float(score.mean()) for name in MAP_SCORES}
            metrics |= {name: float(right[bins == k].mean()) for k, name in enumerate(SCALES) if (bins == k).any()}
            metrics |= {name: None for k, name in enumerate(SCALES) if not (bins == k).any()}
            metrics |= {"n_test": questions, "answers": answers if stored else None}
            made.append(result(attn, float(right.mean()), seed, **metrics))
    return made


PROPERTY = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=False)
def few_resamples():
    """Use few resamples: the properties hold for any number of resamples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 99)
        yield


def same_boards(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    plain = [frame.astype(object).where(frame.notna(), None) for frame in (one, other)]
    pd.testing.assert_frame_equal(*plain, check_dtype=False, rtol=1e-12, atol=1e-12)
    return True


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs(), data=st.data())
def test_the_order_of_runs_changes_nothing(made, data):
    assert same_boards(build_board(data.draw(st.permutations(made))), build_board(made))


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs())
def test_intervals_contain_means_and_ranks_follow_from_intervals(made):
    board = rows(*made)
    for row in board:
        for name in ("accuracy", *SCALES, *MAP_SCORES, "difference"):
            low, mean, high = row[f"{name}_lo"], row[name], row[f"{name}_hi"]
            assert math.isnan(low) == math.isnan(high)
            assert math.isnan(low) or (-1 if name == "difference" else 0) <= low <= mean <= high <= 1
        assert math.isnan(row["p_value"]) or 0 < row["p_value"] <= 1
        assert row["attn"] != "san" or math.isnan(row["p_value"])
    assert [row["accuracy"] for row in board] == sorted((row["accuracy"] for row in board), reverse=True)
    assert board[0]["rank"] == 1
    for row in board:
        higher = [other for other in board if other["accuracy"] > row["accuracy"]]
        assert 1 <= row["rank"] <= 1 + len(higher)
        if row["attn"] != "san" and row["difference_lo"] > 0:  # significantly better than the baseline
            san = next(other for other in board if other["attn"] == "san")
            assert row["accuracy"] <= san["accuracy"] or san["rank"] > 1


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs())
def test_a_duplicated_mechanism_ties_with_itself(made):
    """A copy under another name has the same numbers and the same rank, and no difference to the original."""
    copy = [{**run, "attn": "copy"} for run in made if run["attn"] == made[0]["attn"]]
    board = {row["attn"]: row for row in rows(*made, *copy, baseline=made[0]["attn"])}
    original, copied = board[made[0]["attn"]], board["copy"]
    for name in ("rank", "seeds", "accuracy", "accuracy_lo", "accuracy_hi", "mask_correctness_lo"):
        assert original[name] == copied[name] or (pd.isna(original[name]) and pd.isna(copied[name])), name
    if made[0]["answers"] is None:
        assert math.isnan(copied["difference"])
    else:
        assert (copied["difference"], copied["p_value"]) == (0, 1)
        assert copied["difference_lo"] < 0 < copied["difference_hi"]


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs())
def test_runs_of_another_data_set_change_nothing(made):
    other = [{**run, "dataset": {**run["dataset"], "spec_id": "f" * 12}} for run in made]
    both = build_board([*made, *other])
    for spec_id in ("0123456789ab", "f" * 12):
        part = both[both["dataset"] == f"mbg-{spec_id}"].reset_index(drop=True)
        assert same_boards(part.drop(columns="dataset"), build_board(made).drop(columns="dataset"))
