"""Training with several questions about each image in a step: the questions, resuming, and the options."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import DEFAULT_DATA_OPTIONS, FIRST_RECIPES, RECIPES, DataOptions, Recipe
from bench.data.loading import load_split
from bench.data.online import load_training
from bench.evaluation.evaluate import accuracy
from bench.model import build
from bench.runs import experiment
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_manifest, read_triples
from tests.bench.bench_command import bench
from tests.bench.training.helpers import train_with_stops
from tests.helpers import long_form

CPU = torch.device("cpu")
COMPUTING = ComputeConfig(CPU)
SHORT = Recipe("fast", "adam", lr=0.003, batch=32, epochs=2, schedule="onecycle", questions="all")
QUESTIONS = ("all", 2)
EVERY_WAY = pytest.mark.parametrize("questions", QUESTIONS)


def training(
    folder, questions, attn="san", data_options: DataOptions = DEFAULT_DATA_OPTIONS, online=False, **changed
) -> Trainer:
    """Return a trainer as a run builds it."""
    recipe = replace(SHORT, questions=questions, **changed)
    config = experiment.configure(folder, attn, 0, experiment.RunSettings(recipe, "one", COMPUTING, online=online))
    variant = read_manifest(folder).variant
    data = load_training(config, folder, CPU, data_options)
    splits = TrainingSplits(data, load_split(folder, "val", "one", CPU))
    return Trainer(recipe, build(attn, variant, 0, CPU), splits, 0, COMPUTING)


def asked_in(trainer: Trainer) -> list[list[tuple[int, int]]]:
    """Return the questions of each step, as pairs of image and query."""
    split, steps = trainer.train, []
    real = trainer.step._compute_gradients

    def listen(images, query, label, image_index=None):
        about = image_index if image_index is not None else torch.arange(len(images)).repeat_interleave(query.shape[1])
        pixels = images.sum(dim=(1, 2, 3))
        steps.append(list(zip(pixels[about].tolist(), query.flatten().tolist(), strict=True)))
        assert len(images) == trainer.batch
        return real(images, query, label, *([] if image_index is None else [image_index]))

    trainer.step._compute_gradients = listen
    list(trainer.epochs())
    assert split is trainer.train
    return steps


def test_each_step_has_all_questions_about_its_images(mini):
    trainer = training(mini, "all", epochs=1)
    steps = asked_in(trainer)
    assert (trainer.steps_per_epoch, len(steps)) == (400 // 32, 400 // 32)
    asked = [question for step in steps for question in step]
    assert len(set(asked)) == len(asked)
    counts = torch.bincount(read_triples_of(mini))
    images = {image for image, _ in asked}
    assert len(images) == trainer.steps_per_epoch * trainer.batch
    assert len(asked) > 2.5 * len(images)
    assert sorted(counts.tolist()) == sorted(counts.clamp(2, 4).tolist())


def read_triples_of(folder) -> torch.Tensor:
    return torch.as_tensor(read_triples(folder, "train", "all").image)


def test_given_number_of_questions_is_drawn_without_repetition(mini):
    for step in asked_in(training(mini, 2)):
        assert len(set(step)) == len(step) == 64


@EVERY_WAY
def test_training_with_several_questions_learns_and_counts_questions(questions, mini):
    trainer = training(mini, questions, "none", epochs=3)
    records = list(trainer.epochs())
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert 0.1 < records[-1]["train_accuracy"] < 1
    counted = round(records[-1]["train_accuracy"] * 1e9) / 1e9
    assert counted == pytest.approx(records[-1]["train_accuracy"])
    assert accuracy(trainer.model, trainer.val) == records[-1]["val_accuracy"]


@pytest.mark.parametrize(
    ("questions", "way"),
    long_form(itertools.product(QUESTIONS, ("resident", "streamed", "online")), [("all", "resident"), (2, "online")]),
)
def test_resuming_between_two_steps_with_several_questions_ends_with_the_same_bits(questions, way, mini, tmp_path):
    how = {"data_options": DataOptions(stream=way == "streamed"), "online": way == "online"}
    whole = training(mini, questions, **how)
    records = [{**r, "seconds": 0, "device_seconds": 0} for r in whole.epochs()]
    whole.train.close()
    trainer, found = train_with_stops(lambda: training(mini, questions, **how), (1, 12, 17), tmp_path)
    assert found == records
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name


@EVERY_WAY
def test_streamed_training_with_several_questions_equals_resident_training(questions, mini):
    ends = []
    for stream in (False, True):
        trainer = training(mini, questions, data_options=DataOptions(stream=stream), epochs=1)
        list(trainer.epochs())
        ends.append(trainer.model.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_evaluation_of_all_questions_equals_single_questions(mini):
    model = build("pan", read_manifest(mini).variant, 0, CPU).eval()
    split = load_split(mini, "test", "all", CPU)
    with torch.inference_mode():
        alone = [
            int(model(one.images, one.query).logits.argmax() == one.label)
            for one in (split.batch(torch.tensor([k])) for k in range(len(split)))
        ]
    assert accuracy(model, split) == pytest.approx(sum(alone) / len(split), abs=2 / len(split))


def test_a_recipe_with_one_question_per_image_keeps_its_record(mini):
    before = FIRST_RECIPES["fast"]
    config = experiment.configure(mini, "san", 0, experiment.RunSettings(before, "one", COMPUTING))
    assert "questions" not in config.as_dict()["recipe"]
    assert config.training == "fast"
    now = replace(config, recipe=RECIPES["fast"])
    assert now.as_dict()["recipe"]["questions"] == "all"
    assert "questions=all" in now.training
    assert now.run_id != config.run_id


def test_cuda_graph_needs_equal_numbers_of_questions_per_step(mini):
    recorded = ComputeConfig(CPU, capture="graph")
    with pytest.raises(
        UsageProblemError, match=r"--capture graph: all steps .* the same number of questions; use --questions 2 or one"
    ):
        experiment.configure(mini, "san", 0, experiment.RunSettings(SHORT, "one", recorded))
    assert (
        experiment.configure(
            mini, "san", 0, experiment.RunSettings(replace(SHORT, questions=2), "one", recorded)
        ).capture
        == "graph"
    )


@pytest.mark.parametrize(
    ("wanted", "label"),
    [(["--questions", "2"], 2), (["--questions", "all"], "all"), (["--questions", "one"], "one"), ([], "all")],
)
def test_bench_run_records_the_questions_per_image(wanted, label, few, tmp_path):
    start = ["run", "--attn", "san", "--data", few, "--epochs", "1", "--batch", "10", "--runs", tmp_path]
    code, out, said = bench(*start, *wanted, "--device", "cpu", "--threads", "1")
    assert code == 0, said
    recipe = json.loads((tmp_path / out.splitlines()[-1].split("/")[-1] / "config.json").read_text())["recipe"]
    assert recipe.get("questions", "one") == label


@pytest.fixture(scope="session")
def few(make):
    return make("mini", sizes={"train": 20, "val": 10, "test": 10})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--questions", "0"], "'0': give all, one, or a number from 1 to 9"),
        (["--questions", "some"], "'some': give all, one, or a number from 1 to 9"),
        (["--batch", "21"], "has 20 training images; give 20 or fewer"),
        (["--batch", "999", "--questions", "one", "--queries", "all"], "training questions; give "),
    ],
)
def test_impossible_numbers_of_questions_are_refused_before_training(options, words, few, tmp_path):
    code, _, said = bench("run", "--attn", "san", "--data", few, "--runs", tmp_path, *options)
    assert (code, words in said) == (2, True), said
    assert not list(tmp_path.iterdir())
