"""Tables of tests on other data sets, from records with known values."""

import numpy as np
import pandas as pd
import pytest

from bench.leaderboard.robustness_table import OWN, build_robustness_table, robustness_table_to_text, select_sets
from bench.leaderboard.statistics import bootstrap_interval, difference_interval
from bench.runs.robustness_record import RobustnessRecord
from tests.bench.runs.question_cases import FACTORS, RIGHT, TESTED_SET


def record_of(pairs: int) -> RobustnessRecord:
    settings = {"format": 1, "dataset": "mini-0", "factors": FACTORS, "sets": [{**TESTED_SET, "pairs": pairs}]}
    own = {"right": np.array([1.0, 1.0, 0.0, 0.0, 0.0])}
    return RobustnessRecord(settings, own, None, [{"right": RIGHT.numpy().astype(float)}])


def test_the_table_of_a_network_without_a_map_has_paired_differences():
    board = build_robustness_table([("run", record_of(3))])
    assert board["split"].tolist() == [OWN, "test"]
    assert board["accuracy"].tolist() == [0.4, 0.75]
    row = board.iloc[1]
    assert (row["differs"], row["questions"], row["pairs"]) == ("scale 0.5", 4, 3)
    differences = np.array([[0.0, -1.0, 1.0]])
    assert row["accuracy_difference"] == 0
    bounds = (row["accuracy_difference_lo"], row["accuracy_difference_hi"])
    assert bounds == tuple(bootstrap_interval(differences, paired=True))
    assert board[["mask_correctness", "pointing", "mask_correctness_uniform"]].isna().all(axis=None)
    text = robustness_table_to_text(board, markdown=True)
    assert "3 pairs" in text
    assert "mask correctness" not in text


def test_independent_samples_have_the_difference_of_the_means():
    board = build_robustness_table([("run", record_of(0))])
    assert board["accuracy_difference"][1] == pytest.approx(0.35)
    assert board["accuracy_difference_lo"][1] < 0.35 < board["accuracy_difference_hi"][1]
    assert "independent" in robustness_table_to_text(board)


@pytest.mark.parametrize("pairs", [0, 4])
def test_questions_about_one_image_are_drawn_together(pairs):
    record, image = record_of(pairs), np.array([0, 0, 0, 1])
    (other,) = record.others
    own = {"right": np.array([1.0, 1.0, 0.0, 0.0]), "image": image}
    board = build_robustness_table([("run", RobustnessRecord(record.settings, own, None, [{**other, "image": image}]))])
    of_other, of_own = (bootstrap_interval(each["right"][None], images=image) for each in (other, own))
    assert (board["accuracy_lo"][1], board["accuracy_hi"][1]) == tuple(of_other)
    difference = other["right"] - own["right"]
    if pairs:
        expected = bootstrap_interval(difference[None], paired=True, images=image)
    else:
        expected = difference_interval(other["right"].mean(), of_other, own["right"].mean(), of_own)
    assert (board["accuracy_difference_lo"][1], board["accuracy_difference_hi"][1]) == tuple(expected)


def test_selected_sets_follow_the_own_test_set():
    board = build_robustness_table([("run", record_of(0))])
    pd.testing.assert_frame_equal(select_sets(board, ["mini-1"], "test"), board)
    assert select_sets(board, ["mini-1"], "val")["split"].tolist() == [OWN]


def test_without_the_own_data_set_the_other_sets_are_told_apart():
    record = record_of(0)
    sets = [TESTED_SET, {**TESTED_SET, "dataset": "mini-2", "factors": {**TESTED_SET["factors"], "scales": [0.5, 3.0]}}]
    unknown = RobustnessRecord({**record.settings, "factors": {}, "sets": sets}, record.own, None, record.others * 2)
    assert build_robustness_table([("run", unknown)])["differs"].tolist() == ["", "scale 0.5", "scale 0.5–3"]
