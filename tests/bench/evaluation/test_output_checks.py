"""Nonfinite answers and maps end a run or are reported, and give no answer, score or picture."""

import json
import logging
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import cli
from bench.attention.base import Changed, PooledReadout
from bench.attention.layers import normalize_map
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.loading import load_split
from bench.data.split import Split
from bench.evaluation import evaluate, snapshots
from bench.evaluation.output_checks import unanswered, unfit_images
from bench.leaderboard.aggregate import build_board
from bench.model import Output, create_model
from bench.report import page as report
from bench.runs import experiment, final_test
from bench.runs.network_loading import load_model
from bench.runs.records import read_results
from bench.training.trainer import DivergedError
from bench.visualization import attention_maps, comparison
from mnistref.common.errors import RunProblemError
from mnistref.variants import get_variant
from tests.bench.attention.user_modules import scorer, write_module
from tests.bench.distributed.training_program import Broken

CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")
NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def split(mini) -> Split:
    return load_split(mini, "test", "one", CPU, masks=True)


def number_of_questions(split: Split, query: int = 3) -> int:
    """Return the number of questions about a digit."""
    return int((split.query == query).sum())


@pytest.mark.parametrize(
    ("logits", "none"),
    [
        ([1, 2, 3], False),
        ([-INF, 2, -INF], False),  # log-probabilities of two impossible classes
        ([1, NAN, 3], True),
        ([1, INF, 3], True),
        ([-INF, INF, 0], True),
        ([-INF, -INF, -INF], True),
        ([NAN, NAN, NAN], True),
    ],
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_nonfinite_logits_are_not_an_answer(logits, none, kind):
    assert unanswered(torch.tensor([logits, [0, 0, 0]], dtype=kind)).tolist() == [none, False]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_images_with_invalid_maps_are_detected(kind):
    maps = [torch.ones(6, 1, 2, 2, dtype=kind), torch.zeros(6, 1, 1, 3, dtype=kind)]
    for image, value in ((1, NAN), (2, INF), (3, -INF), (4, -0.25), (5, -0.0)):
        maps[image % 2][image, 0, 0, 1] = value
    odd, below = unfit_images(maps)
    assert odd.tolist() == [False, True, True, True, False, False]
    assert below.tolist() == [False, False, False, False, True, False]
    assert not any(flags.any() for flags in unfit_images([torch.ones(2, 1, 2, 2, dtype=torch.bool)]))


@pytest.mark.parametrize("value", [NAN, INF])
def test_nonfinite_answers_are_counted_and_end_validation_and_test(value, split):
    model = Broken(create_model("pan", "mini"), "answers", value)
    message = f"the answers to {number_of_questions(split)} of 120 questions are not finite"
    with pytest.raises(DivergedError, match=f"^validation: {message}"):
        evaluate.accuracy(model, split, 50)
    with pytest.raises(DivergedError, match=f"^test: {message}"):
        evaluate.test(model, split, 50)


def test_logit_of_minus_infinity_is_a_valid_answer(split):
    model = Broken(create_model("pan", "mini"), "class", -INF)
    assert 0 <= evaluate.accuracy(model, split) == evaluate.test(model, split).measures["accuracy"]


@pytest.mark.parametrize("attn", ["pan", "san", "han", "arnn-sampled"])
@pytest.mark.parametrize(("value", "words"), [(NAN, "not finite"), (INF, "not finite"), (-0.1, "below zero")])
def test_nonfinite_maps_are_counted_and_give_no_score(value, words, attn, split):
    model = Broken(create_model(attn, "mini"), "maps", value)
    error = ValueError if words == "below zero" else DivergedError
    for ask in (evaluate.accuracy, evaluate.test):
        with pytest.raises(error, match=f"the maps of {number_of_questions(split)} of 120 questions are {words}"):
            ask(model, split, 50)


def test_maps_of_a_wrong_shape_are_an_error_that_names_the_shape(split):
    class Two(nn.Module):
        def forward(self, images, query):
            return Output(torch.zeros(len(images), 5), [torch.ones(len(images), 2, 4, 4)], True, 1.0, (4,))

    for ask in (evaluate.accuracy, evaluate.test):
        with pytest.raises(ValueError, match="map 1 has 2 channels"):
            ask(Two(), split)


def test_a_test_measures_valid_maps_like_the_checked_functions(split):
    """The values are equal to the bit to those of the public functions, image by image."""
    from bench import metrics

    torch.manual_seed(0)
    model = create_model("pan", "mini").eval()
    found = evaluate.test(model, split, 50)
    measured = []
    with torch.inference_mode():
        for batch in split.batches(50):
            out, target = model(batch.images, batch.query), split.masks(batch.indices)
            measured.append(
                [measure(out.masks, target) for measure in (metrics.mask_correctness, metrics.pointing_game)]
            )
    for name, values in zip(("mask_correctness", "pointing"), zip(*measured, strict=True), strict=True):
        every = torch.cat(values)
        assert found.measures[name] == float(every.double().mean())
        assert torch.equal(found.answers[name], every.to(found.answers[name].dtype))


def test_the_last_slot_keeps_invalid_maps_invalid():
    mask = torch.ones(4, 1, 2, 2)
    mask[1, 0, 0, 0], mask[2], mask[3, 0, 0, 0] = NAN, 0, -9
    shared = normalize_map(mask)
    assert torch.equal(shared[0], mask[0] / 4)
    assert torch.equal(shared[2], torch.full((1, 2, 2), 0.25))
    odd, below = unfit_images([shared])
    assert (odd.tolist(), below.tolist()) == ([False, True, False, False], [False, False, False, True])

    class Mine(nn.Module):
        def forward(self, x, query):
            return Changed(x, mask)

    reading = PooledReadout(Mine())([torch.ones(4, 3, 2, 2)], torch.zeros(4, 10))
    assert unfit_images(reading.masks)[0].tolist() == [False, True, False, False]


FAULTS = {
    "answers": ("Scored(x * (float('nan') if bad else 1), score)", "diverged"),
    "maps": ("Changed(x * score.sigmoid(), score.sigmoid() + (float('inf') if bad else 0))", "diverged"),
    "signed": ("Changed(x * score.sigmoid(), score.sigmoid() - 2 * bad)", "failed"),
}
REASONS = {
    "answers": "the answers to 100 of 100 questions are not finite",
    "maps": "the maps of 100 of 100 questions are not finite",
    "signed": "the maps of 100 of 100 questions are below zero; let the module return clamp_min",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_with_invalid_outputs_in_validation_ends_without_a_score(fault, mini, root, tmp_path):
    """The module fails only in evaluation."""
    (returned, status), reason = FAULTS[fault], REASONS[fault]
    forward = f"score = self.score(x)\nbad = not self.training\nreturn {returned}"
    path = write_module(tmp_path, scorer("Odd", forward))
    config = experiment.configure(mini, f"{path}:Odd", 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU)))
    with pytest.raises(RunProblemError, match=re.escape(reason)) as error:
        experiment.run(config, mini, tmp_path / "runs")
    assert "validation after epoch 1: " in str(error.value)
    result = json.loads((tmp_path / "runs" / config.run_id / "result.json").read_text())
    assert result["status"] == status
    assert reason in result["reason"]
    assert not [name for name in result if name.startswith(("accuracy", "mask", "tpr", "pointing"))]
    (row,) = build_board(read_results(tmp_path / "runs")).to_dict("records")
    assert (row["seeds"], row["status"]) == (0, f"1 {status}")
    assert reason.split(";")[0] in report.page(tmp_path / "runs", root)


def test_a_run_with_invalid_outputs_in_the_test_ends_without_a_score(mini, tmp_path, monkeypatch):
    whole = evaluate.test
    monkeypatch.setattr(final_test, "test", lambda model, *more: whole(Broken(model, "answers", NAN), *more))
    config = experiment.configure(mini, "pan", 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU)))
    with pytest.raises(RunProblemError, match=r"diverged: test: the answers to \d+ of 120 questions are not finite"):
        experiment.run(config, mini, tmp_path)
    folder = tmp_path / config.run_id
    assert json.loads((folder / "result.json").read_text())["status"] == "diverged"
    assert not (folder / "answers.safetensors").exists()
    assert not (folder / "pictures").exists()


@pytest.fixture
def broken_show(monkeypatch):
    """Return broken_show(part, value), which replaces a value in the outputs of networks that `bench show` loads."""

    def broken_show(part: str, value: float) -> None:
        def load(run: Path):
            config, model = load_model(run)
            return config, Broken(model, part, value, query=None)

        for module in (attention_maps, comparison):
            monkeypatch.setattr(module, "load_model", load)

    return broken_show


@pytest.fixture(scope="module")
def finished(mini, tmp_path_factory) -> list[Path]:
    runs = tmp_path_factory.mktemp("runs")
    configs = [
        experiment.configure(mini, attn, 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU)))
        for attn in ("pan", "none")
    ]
    return [experiment.run(config, mini, runs) for config in configs]


@pytest.mark.parametrize("runs", [1, 2])
def test_show_reports_nonfinite_answers(runs, finished, broken_show, root, tmp_path):
    pytest.importorskip("matplotlib")
    broken_show("answers", NAN)
    call = ["show", *map(str, finished[:runs]), "--root", str(root), "--images", "3", "-o", str(tmp_path / "a.svg")]
    done = CliRunner().invoke(cli.bench, call)
    assert done.exit_code == 0, done.stderr
    assert len(re.findall("0 (of 3 )?answers right, 3 are not finite", done.stderr)) == runs
    assert "nan" not in re.sub('"data:image[^"]*"', "", (tmp_path / "a.svg").read_text())


def test_show_reports_maps_that_cannot_be_shown(finished, broken_show, root, tmp_path):
    pytest.importorskip("matplotlib")
    broken_show("maps", NAN)
    for runs in (finished[:1], finished):
        call = ["show", *map(str, runs), "--root", str(root), "--images", "2", "-o", str(tmp_path / "a.png")]
        done = CliRunner().invoke(cli.bench, call)
        assert done.exit_code == 0, done.stderr
        assert "maps not finite in 2" in done.stderr


def test_stored_pictures_leave_out_invalid_answers_and_maps(split, tmp_path, caplog):
    variant = get_variant("mini")
    with caplog.at_level(logging.WARNING):
        taken = snapshots.take_snapshots(
            Broken(create_model("pan", "mini"), "answers", NAN, query=None), split, variant, 4
        )
    assert [word["answer"] for word in taken.words] == [None] * 4
    assert "4 of 4 answers are not finite" in caplog.text
    assert not any("no_map" in word for word in taken.words)
    assert taken.maps.max() == 255
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        taken = snapshots.take_snapshots(
            Broken(create_model("pan", "mini"), "maps", INF, query=None), split, variant, 4
        )
    assert [word["no_map"] for word in taken.words] == [True] * 4
    assert not any("share" in word for word in taken.words)
    assert "4 maps are not finite or negative" in caplog.text
    assert not taken.maps.any()
    snapshots.write_snapshots(tmp_path, taken)
    assert not np.asarray(Image.open(tmp_path / "pictures" / "maps.png")).any()


def test_the_report_marks_invalid_answers_and_maps_of_stored_pictures(finished, root, tmp_path):
    shutil.copytree(finished[0].parent, tmp_path / "runs", ignore=shutil.ignore_patterns("checkpoint", ".locks"))
    words = tmp_path / "runs" / finished[0].name / "pictures" / "pictures.json"
    said = json.loads(words.read_text())
    said[0]["answer"], said[1]["no_map"] = None, True
    words.write_text(json.dumps(said))
    text = report.page(tmp_path / "runs", root)
    assert "no answer (not finite)" in text
    assert "1 answer is not finite. 1 map is not shown, because it is not finite or negative." in text
