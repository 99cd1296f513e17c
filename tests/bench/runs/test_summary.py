"""What a finished run reports to its user."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.data.question_blind import question_blind_accuracy
from bench.runs import experiment, summary
from bench.runs.configure import RunSettings, configure
from bench.runs.records import read_result
from bench.runs.summary import describe_run, has_map, suggest_commands
from mnistref.variants import VARIANTS


@pytest.fixture(scope="module")
def trained(mini, tmp_path_factory):
    """Return trained(attn), which returns a short run on mini in a new folder of runs."""
    folders = {}

    def trained(attn: str):
        if attn not in folders:
            computing = ComputeConfig(torch.device("cpu"))
            config = configure(mini, attn, 0, RunSettings(replace(RECIPES["fast"], epochs=1), "one", computing))
            folders[attn] = experiment.run(config, mini, tmp_path_factory.mktemp(attn))
        return folders[attn]

    return trained


@pytest.fixture(scope="module")
def run(trained):
    return trained("pan")


def changed(run, folder, **values):
    """Return a copy of a run with other values in its result."""
    copy = folder / run.name
    shutil.copytree(run, copy)
    result = json.loads((copy / "result.json").read_text())
    (copy / "result.json").write_text(json.dumps(result | values))
    return copy


def row(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line


def test_summary_compares_accuracy_with_question_blind_accuracy(run, mini):
    result = json.loads((run / "result.json").read_text())
    line = row(describe_run(run, mini), "accuracy")
    assert f"{100 * result['accuracy']:.1f} %" in line
    assert f"most frequent colour of each image: {100 * question_blind_accuracy(mini):.1f} %" in line


def test_summary_says_if_the_accuracy_is_below_that_of_an_answer_that_ignores_the_question(run, mini, tmp_path):
    blind = question_blind_accuracy(mini)
    for accuracy, is_below in ((blind - 0.001, True), (0.0, True), (blind, False), (blind + 0.001, False)):
        text = describe_run(changed(run, tmp_path / str(accuracy), accuracy=accuracy), mini)
        note = f"The accuracy is below the {100 * blind:.1f} % of an answer that ignores the question"
        assert (note in text) == is_below
        assert ("--epochs" in text) == is_below


def test_summary_of_a_model_trained_elsewhere_advises_no_training(run, mini, tmp_path):
    text = describe_run(changed(run, tmp_path, accuracy=0.0, recipe="evaluated"), mini)
    assert "The accuracy is below" in text
    assert "--epochs" not in text


def test_summary_finds_the_run_without_attention_on_the_same_questions(run, trained, mini, tmp_path):
    """Runs on other questions and unfinished runs are skipped, and a run with the same recipe is preferred."""
    own, none = changed(run, tmp_path), trained("none")
    assert "(none)" not in describe_run(own, mini)
    other = changed(none, tmp_path, queries="all", accuracy=0.111)
    assert "(none)" not in describe_run(own, mini)
    shutil.rmtree(other)
    other = changed(none, tmp_path, recipe="another", accuracy=0.222)
    assert row(describe_run(own, mini), "accuracy").endswith("without attention (none): 22.2 %")
    other.rename(tmp_path / "mini-none-s7-another")
    recipe = json.loads((own / "result.json").read_text())["recipe"]
    changed(none, tmp_path, recipe=recipe, accuracy=0.333)
    assert row(describe_run(own, mini), "accuracy").endswith("without attention (none): 33.3 %")
    (tmp_path / none.name / "result.json").write_text("{")
    assert row(describe_run(own, mini), "accuracy").endswith("without attention (none): 22.2 %")


def test_summary_compares_with_the_same_network_and_seed_without_attention(run, trained, tmp_path, mini):
    own, none = changed(run, tmp_path, seed=1), trained("none")
    recipe = json.loads((own / "result.json").read_text())["recipe"]
    for name, seed, accuracy, network in (
        ("mini-none-s0-a", 0, 0.111, ""),
        ("mini-none-s1-b", 1, 0.222, ""),
        ("mini-none-s2-c", 2, 0.333, ""),
        ("mini-resnet18-none-s1-d", 1, 0.444, ",network=resnet18,width=8"),
    ):
        copy = changed(none, tmp_path, recipe=recipe + network, accuracy=accuracy, seed=seed)
        copy.rename(tmp_path / name)
    assert row(describe_run(own, mini), "accuracy").endswith("without attention (none): 22.2 %")
    result = json.loads((own / "result.json").read_text())
    (own / "result.json").write_text(json.dumps({**result, "recipe": recipe + ",network=resnet18,width=8"}))
    assert row(describe_run(own, mini), "accuracy").endswith("without attention (none): 44.4 %")


@pytest.mark.parametrize(
    ("share", "uniform", "words"),
    [
        (0.20, 0.05, "uniform map: 5.0 %, 4.0 times as much"),
        (0.051, 0.05, "no better than uniform"),
        (0.049, 0.05, "no better than uniform"),
        (0.02, 0.05, "below uniform"),
        (0.0, 0.05, "below uniform"),
    ],
)
def test_summary_compares_attention_with_a_uniform_map(run, mini, tmp_path, share, uniform, words):
    copy = changed(run, tmp_path, mask_correctness=share, mask_correctness_uniform=uniform)
    assert words in row(describe_run(copy, mini), "attention on the queried digit")


@pytest.mark.parametrize(
    ("peak", "words"),
    [
        (0.003, "random pixel: 5.0 %, 0.1 times as much"),
        (0.0, "random pixel: 5.0 %, 0.0 times as much"),
        (0.051, "random pixel: 5.0 %, no better than random"),
        (0.5, "random pixel: 5.0 %, 10.0 times as much"),
    ],
)
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_summary_compares_the_peak_with_a_random_pixel(run, mini, tmp_path, peak, words, share):
    """A sentence follows if the attention is above chance and the peak is below."""
    copy = changed(run, tmp_path, mask_correctness=share, mask_correctness_uniform=0.05, pointing=peak)
    text = describe_run(copy, mini)
    assert row(text, "peak of the map on the digit").endswith(words)
    assert ("on the digit less often than a random pixel" in text) == (share == 0.1 and peak < 0.05)


def test_summary_reports_a_network_without_maps(trained, mini):
    none = trained("none")
    assert not has_map(none)
    assert "no attention map" in row(describe_run(none, mini), "attention on the queried digit")
    assert "(none)" not in describe_run(none, mini)


def test_summary_of_an_untimed_run_has_no_line_about_time(run, mini, tmp_path):
    assert "× san" in row(describe_run(run, mini), "training step")
    copy = changed(run, tmp_path, train_step_ms=None, relative_runtime=None)
    assert "training step" not in describe_run(copy, mini)


def test_time_of_a_step_without_a_question_is_compared_with_none(run, tmp_path):
    timed = changed(run, tmp_path, train_step_ms=5.0, relative_runtime=1.5, step_over_none=2.25)
    rows = {name: rest for name, *rest in summary._rows(timed, read_result(timed), VARIANTS["mone"], None)}
    assert rows["training step"] == ["5 ms", "2.2 × none"]


def test_suggested_commands_name_the_folders(tmp_path):
    text = suggest_commands(tmp_path / "my runs" / "a", None)
    assert f"bench show '{tmp_path}/my runs/a'" in text
    assert f"bench leaderboard --runs '{tmp_path}/my runs'" in text
    assert "picture " not in text
