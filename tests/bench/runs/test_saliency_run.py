"""Map methods on a finished run: the first questions, the record, the sheet, and randomised layers."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from bench.attribution.explain import ExplanationOptions
from bench.attribution.methods import find_methods
from bench.data.loading import load_split
from bench.runs import saliency_record
from bench.runs.answers import read_answers
from bench.runs.saliency_record import SHEET, SHEET_IMAGES, SHEET_TILE_PIXELS
from bench.runs.saliency_run import explain_run, load_explained, randomize_run, select_questions
from mnistref.common.errors import UsageProblemError
from tests.bench.runs.sweep_helpers import COMPUTING

OPTIONS = ExplanationOptions(batch=4, curves=False)


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[1], tmp_path / "run")


def test_selected_questions_keep_their_images(mini):
    whole = load_split(mini, "test", "one", torch.device("cpu"), masks=True)
    some = select_questions(whole, torch.tensor([7, 2]))
    assert len(some) == 2
    both = torch.arange(2)
    assert torch.equal(some.batch(both).images, whole.batch(torch.tensor([7, 2])).images)
    assert some.scale.tolist() == whole.scale[[7, 2]].tolist()


@pytest.mark.parametrize(("asked", "found"), [(5, 5), (10**6, 120)])
def test_first_questions_are_loaded_or_all_if_there_are_fewer(asked, found, finished, mini):
    config, network, split = load_explained(finished[1], mini, asked, COMPUTING)
    assert (config, len(split), network.classes) == (finished[0], found, 5)


def test_maps_are_measured_and_recorded_with_a_sheet(run, mini):
    pytest.importorskip("captum")
    record = explain_run(run, mini, find_methods("attention,gradient,uniform"), 9, OPTIONS, COMPUTING)
    assert list(record.measures)[:3] == ["attention", "gradient", "uniform"]
    np.testing.assert_array_equal(record.right, read_answers(run)["right"][:9].astype(bool))
    with Image.open(run / SHEET) as sheet:
        assert sheet.size == (SHEET_IMAGES * SHEET_TILE_PIXELS, 3 * SHEET_TILE_PIXELS)  # images and two methods
    assert saliency_record.RECORD.read(run).settings == record.settings


def test_the_answer_is_randomised_first_and_baselines_are_left_out(run, mini):
    found = randomize_run(run, mini, find_methods("attention,uniform"), 3, OPTIONS, COMPUTING)
    assert found[0][0].startswith("head")
    assert all(values.keys() == {"attention"} for _, values in found)
    assert all(-1 <= values["attention"] <= 1 + 1e-6 for _, values in found)


def test_a_run_without_the_methods_has_no_randomised_layers(run, mini):
    with pytest.raises(UsageProblemError, match="pan has no map by these methods"):
        randomize_run(run, mini, find_methods("uniform"), 3, OPTIONS, COMPUTING)
