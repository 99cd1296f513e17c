"""Other data sets of a test: how they differ, which questions they share, and names that lead to none."""

import pytest

from bench.runs.other_sets import count_shared_questions, describe_difference, factor_text, factors_of, find_other_set
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_manifest
from tests.bench.runs.question_cases import FACTORS

FEW = {"train": 2, "val": 2, "test": 30}


def test_factors_of_a_data_set_are_those_of_its_manifest(mini):
    assert factors_of(read_manifest(mini)) == FACTORS


def test_factors_that_differ_are_described_in_words():
    assert [factor_text(value) for value in ([0.5, 1.0], [2, 2], None, "mnist")] == ["0.5–1", "2", "none", "mnist"]
    other = {**FACTORS, "scales": [0.5, 0.5], "seed": 3, "backgrounds": "builtin"}
    assert describe_difference(other, FACTORS) == "scale 0.5; seed 3; photos from builtin"
    assert describe_difference({**FACTORS, "distractors": 5}, FACTORS) == "distractors 5"
    early = {name: value for name, value in FACTORS.items() if name != "distractors"}
    assert describe_difference({**early, "seed": 3}, FACTORS) == describe_difference({**FACTORS, "seed": 3}, early)
    assert describe_difference(FACTORS, FACTORS) == describe_difference(other, {}) == ""


def test_questions_about_the_same_digits_are_shared(mini, make):
    assert count_shared_questions(mini, mini, "one", 50) == 50
    assert count_shared_questions(mini, make("mini", sizes=FEW, canvas=60), "one", 50) == 30
    assert count_shared_questions(mini, make("mini", sizes=FEW, seed=1), "one", 50) == 0


@pytest.mark.parametrize(
    ("name", "request_of_run", "message"),
    [
        ("miniinv", {}, "miniinv: another task than that of mini"),
        ("mbgg", {}, "did you mean 'mbg'"),
        ("mref", None, "the record does not name the digits"),
        ("mbg", {"digits": "mnist5k", "sizes": {}}, "the record does not name the digits and photos"),
        ("mref", {"digits": "mnist5k"}, "the record of the run's data set is damaged"),
    ],
)
def test_other_sets_that_cannot_be_found_are_refused(name, request_of_run, message, tmp_path):
    with pytest.raises(UsageProblemError, match=message):
        find_other_set(name, tmp_path, "mini", request_of_run)


def test_another_set_is_found_by_its_folder_its_name_and_its_id(mini):
    root, manifest = mini.parents[1], read_manifest(mini)
    for name in (str(mini), manifest.folder_name, manifest.spec_id):
        assert find_other_set(name, root, "mini", {}) == mini
