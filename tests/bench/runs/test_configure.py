"""The configuration of a run: its id, its data set and its initial weights."""

import json
import shutil
from dataclasses import replace

import pytest

from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.data.loading import load_split
from bench.leaderboard.aggregate import build_board
from bench.model import build
from bench.runs import configure, experiment, records
from bench.runs.network_loading import load_model
from bench.training.checkpoints import load_matching_weights, load_weights
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_manifest
from tests.bench.runs.helpers import CPU, SHORT, configured


@pytest.mark.parametrize(
    "change",
    [
        {"attn": "arnn"},
        {"seed": 1},
        {"recipe": replace(RECIPES["fast"], epochs=3)},
        {"queries": "all"},
        {"dataset": "mini-x"},
    ],
)
def test_run_id_depends_on_every_setting_of_a_run(change, mini):
    config = configured(mini)
    assert replace(config, **change).run_id != config.run_id
    assert replace(config).run_id == config.run_id


def test_mbgmulti_cannot_be_trained_on(make):
    with pytest.raises(UsageProblemError, match="test-only"):
        configured(make("mbgmulti"))


def test_a_run_starts_from_the_weights_of_another(finished, mini, make, tmp_path):
    """The recipe names the initial weights, and the first losses are those of these weights."""
    folder = finished[1]
    data = make("mini", sizes={"train": 200, "val": 50, "test": 60}, seed=5)
    config = experiment.configure(
        data, "pan", 1, experiment.RunSettings(replace(SHORT, epochs=1), "one", ComputeConfig(CPU), init=folder)
    )
    assert config.init == f"{mini.name},fast,epochs=2"
    assert config.run_id != configured(data, "pan", replace(SHORT, epochs=1), 1).run_id
    other = experiment.run(configured(mini, "pan", replace(SHORT, epochs=1), 2), mini, tmp_path / "other")
    for wrong in (None, other):
        with pytest.raises(UsageProblemError, match="to start from other weights"):
            experiment.run(config, data, tmp_path, init=wrong)
    run = experiment.run(config, data, tmp_path, init=folder)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    assert result["recipe"] == f"fast,epochs=1,init=({mini.name},fast,epochs=2)"
    model = build("pan", read_manifest(data).variant, 1, CPU)
    load_weights(folder / "weights.safetensors", model)
    train, val = (load_split(data, split, "one", CPU) for split in ("train", "val"))
    (record,) = Trainer(config.recipe, model, TrainingSplits(train, val), 1, ComputeConfig(CPU)).epochs()
    assert record["train_loss"] == history[0]["train_loss"]
    assert build_board(records.read_results(tmp_path))["recipe"].tolist() == [result["recipe"]]


def test_run_on_other_questions_starts_from_matching_weights(finished, make, tmp_path, caplog):
    """The inverse task has 10 classes and 5 queries, so layers of these sizes are initialised at random."""
    data = make("mbginv", sizes={"train": 20, "val": 10, "test": 10})
    once = replace(SHORT, epochs=1, batch=10)
    config = experiment.configure(
        data, "pan", 0, experiment.RunSettings(once, "one", ComputeConfig(CPU), init=finished[1])
    )
    with caplog.at_level("INFO", "bench"):
        run = experiment.run(config, data, tmp_path, init=finished[1])
    names = "head.classify, gates.0.attend.embedding, "
    for said in ("initialised at random, because {} has no weights that fit", "weights of {} that are not used"):
        assert f"{said.format(finished[1].name)}: {names}" in caplog.text
    model = build("pan", read_manifest(data).variant, 0, CPU)
    load_matching_weights(load_model(finished[1])[1].state_dict(), model)
    train, val = (load_split(data, split, "one", CPU) for split in ("train", "val"))
    (record,) = Trainer(once, model, TrainingSplits(train, val), 0, ComputeConfig(CPU)).epochs()
    (history,) = (json.loads(line) for line in (run / "history.jsonl").read_text().splitlines())
    assert record["train_loss"] == history["train_loss"]


@pytest.mark.parametrize(
    ("attn", "harm", "message"),
    [
        ("san", None, "a run of pan; its weights do not fit san"),
        ("pan", "weights.safetensors", "no weights here"),
        ("pan", "config.json", "no run here"),
    ],
)
def test_unusable_initial_weights_are_refused(attn, harm, message, finished, mini, tmp_path):
    folder = shutil.copytree(finished[1], tmp_path / "run")
    if harm:
        (folder / harm).unlink()
    with pytest.raises(UsageProblemError, match=message):
        experiment.configure(mini, attn, 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU), init=folder))


@pytest.mark.parametrize(
    ("questions", "note"), [(3, "--questions 3: some images have 2 questions;"), (2, ""), ("all", ""), ("one", "")]
)
def test_questions_that_a_step_asks_twice_are_announced(questions, note, mini, caplog):
    caplog.set_level("INFO", "bench")
    configure._log_once.cache_clear()
    configured(mini, recipe=replace(SHORT, questions=questions))
    assert note in caplog.text
    assert ("twice" in caplog.text) == bool(note)


def test_new_images_need_one_question_each_if_the_authors_program_chooses_them(mini):
    settings = experiment.RunSettings(replace(SHORT, questions="all"), "author", ComputeConfig(CPU), online=True)
    with pytest.raises(UsageProblemError, match="--queries author needs --questions one"):
        experiment.configure(mini, "san", 0, settings)
    for allowed in (replace(settings, online=False), replace(settings, recipe=replace(SHORT, questions="one"))):
        assert experiment.configure(mini, "san", 0, allowed).queries == "author"
