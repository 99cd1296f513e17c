"""Tests of a finished run on other data sets: the record, and images that are too small."""

import numpy as np
import pytest

from bench.model import create_model
from bench.runs import robustness_run
from bench.runs.answers import read_answers
from bench.runs.robustness_run import EvaluationOptions, measure_robustness, require_fitting_images
from mnistref.common.errors import UsageProblemError
from tests.bench.runs.sweep_helpers import COMPUTING


def test_a_test_on_the_own_data_set_gives_the_answers_of_the_run(finished, mini, tmp_path):
    config, run, _ = finished
    record = measure_robustness(
        run, mini, [mini], EvaluationOptions("test", images=9, batch=4), COMPUTING, output=tmp_path
    )
    (tested,) = record.settings["sets"]
    assert (record.settings["dataset"], tested["dataset"]) == (config.dataset, mini.name)
    assert (tested["questions"], tested["pairs"], tested["batch"], tested["device"]) == (9, 9, 4, "cpu")
    answers = read_answers(run)
    assert record.others[0].keys() == {"right", "pointing", "mask_correctness", "mask_correctness_uniform"}
    np.testing.assert_array_equal(record.others[0]["right"], answers["right"][:9])
    np.testing.assert_allclose(record.others[0]["mask_correctness"], answers["mask_correctness"][:9], atol=1e-3)
    assert not (run / "robustness.json").exists()


def test_a_test_without_the_own_data_set_has_no_pairs(finished, mini, tmp_path):
    record = measure_robustness(finished[1], None, [mini], EvaluationOptions("test", 9, 4), COMPUTING, output=tmp_path)
    assert record.settings["factors"] == {}
    assert record.settings["sets"][0]["pairs"] == 0


def test_answers_to_all_questions_have_the_index_of_their_image(mini):
    model = create_model("none", variant="mini").eval()
    arrays = robustness_run._test_on(model, "all", mini, EvaluationOptions("test", images=3), COMPUTING)
    assert arrays["image"].unique().tolist() == [0, 1, 2]
    assert arrays["image"].shape == arrays["right"].shape > (3,)
    assert "image" not in robustness_run._test_on(model, "one", mini, EvaluationOptions("test", images=3), COMPUTING)


def test_images_that_are_too_small_for_the_stages_are_refused(mini, make):
    large = create_model("none", classes=5, queries=10, size=(200, 200), width=2)
    require_fitting_images(large, mini)
    tiny = make("mini", sizes={"train": 2, "val": 2, "test": 3}, scales=(0.3, 0.4), digits_per_image=(1, 1), canvas=20)
    with pytest.raises(UsageProblemError, match="images of 20 px; the network halves them 5 times and needs 32 px"):
        require_fitting_images(large, tiny)
