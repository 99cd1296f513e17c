"""A run from configuration to record, and its possible failures."""

import contextlib
import json
import shutil
from dataclasses import replace

import h5py
import pytest
import torch
from click.testing import CliRunner

import cli
from bench.attention import resolve_network
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.evaluation import snapshots
from bench.model import CheckedNetwork
from bench.profiling import run_cost
from bench.runs import experiment, final_test, records
from mnistref.common.errors import DataProblemError, MismatchProblemError, RunProblemError, UsageProblemError
from tests.bench.runs.helpers import CPU, SHORT, configured


def test_folder_of_a_run_has_the_complete_record(finished):
    config, folder, result = finished
    assert folder.name == config.run_id
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "config.json",
        "environment.json",
        "history.jsonl",
        "result.json",
        "weights.safetensors",
        "answers.safetensors",
        "pictures",
        "checkpoint",
    }
    assert json.loads((folder / "config.json").read_text())["recipe"]["lr"] == 0.003
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [h["epoch"] for h in history] == [1, 2]
    assert result["val_accuracy"] == max(h["val_accuracy"] for h in history)
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert environment["threads"] == torch.get_num_threads()


def test_a_network_without_attention_has_no_maps(mini, tmp_path):
    config = experiment.configure(
        mini, "none", 0, experiment.RunSettings(replace(SHORT, epochs=1), "one", ComputeConfig(CPU))
    )
    run = experiment.run(config, mini, tmp_path)
    assert sorted(path.name for path in (run / snapshots.FOLDER).iterdir()) == sorted(
        [snapshots.IMAGES, snapshots.TARGETS, snapshots.WORDS]
    )
    words = json.loads((run / snapshots.FOLDER / snapshots.WORDS).read_text())
    assert all("uniform" in said and "share" not in said for said in words)
    assert set(records.read_answers(run)) == {"answer", "right", "scale_bin"}


def test_result_has_its_provenance(finished, mini):
    _, _, result = finished
    assert (result["status"], result["attn"], result["variant"], result["seed"]) == ("ok", "pan", "mini", 0)
    assert result["dataset"] == {"spec_id": mini.name.split("-")[1], "digits": "mnist5k", "backgrounds": None}
    assert result["recipe"] == "fast,epochs=2"
    assert result["note"].endswith("no published results to compare its numbers with")
    assert (result["epochs"], result["device"], result["precision"]) == (2, "cpu", "fp32")
    assert result["train_step_ms"] > 0
    assert result["relative_runtime"] > 0
    assert result["timing_rounds"] == 1  # the value that tests/conftest.py sets


@pytest.mark.parametrize("asked", ["0", "-1", "2.5", "many"])
def test_invalid_number_of_timing_rounds_is_refused_before_training(asked, mini, tmp_path, monkeypatch):
    monkeypatch.setenv(run_cost.ROUNDS_VARIABLE, asked)
    with pytest.raises(UsageProblemError, match=f"BENCH_TIMING_ROUNDS={asked}: give a whole number"):
        experiment.run(configured(mini), mini, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_finished_run_is_not_run_again(finished, mini, monkeypatch):
    config, folder, _ = finished
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    monkeypatch.setattr(experiment, "_train_and_test", lambda *_: pytest.fail("trained again"))
    assert experiment.run(config, mini, folder.parent) == folder
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_an_interrupted_run_resumes_to_the_same_weights(finished, mini, tmp_path, interrupt_after):
    config, folder, _ = finished
    with interrupt_after(2), pytest.raises(KeyboardInterrupt):
        experiment.run(config, mini, tmp_path)
    assert not (tmp_path / config.run_id / "result.json").exists()
    assert [r["status"] for r in records.read_results(tmp_path)] == ["unfinished"]
    again = experiment.run(config, mini, tmp_path)
    assert (again / "weights.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()
    epochs = [json.loads(line)["epoch"] for line in (again / "history.jsonl").read_text().splitlines()]
    assert epochs == [1, 2]


def test_a_run_can_be_started_again(finished, mini, tmp_path):
    config, folder, result = finished
    shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / folder.name / "checkpoint" / "state.json").write_text("{}")  # resuming would be refused
    again = experiment.run(config, mini, tmp_path, options=experiment.ExecutionOptions(resume=False))
    assert json.loads((again / "result.json").read_text())["accuracy"] == result["accuracy"]


@pytest.mark.parametrize("lost", ["weights.safetensors", "result.json"])
def test_run_with_a_missing_file_is_not_finished(lost, finished, mini, tmp_path):
    config, folder, _ = finished
    shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / folder.name / lost).unlink()
    experiment.run(config, mini, tmp_path)
    assert (tmp_path / folder.name / lost).read_bytes()[:40] == (folder / lost).read_bytes()[:40]


def test_damaged_data_end_a_run_and_are_the_recorded_reason(make, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(make("mini", seed=5), folder)
    shard = next(folder.glob("train-*.h5"))
    with h5py.File(shard, "r+") as file:
        file["image"][:] = 255
    config = configured(folder)
    with pytest.raises(DataProblemError, match="damaged"):
        experiment.run(config, folder, tmp_path / "runs")
    (result,) = records.read_results(tmp_path / "runs")
    assert result["status"] == "failed"
    assert shard.name in result["reason"]


@pytest.mark.parametrize(
    ("attn", "variant", "message"),
    [
        ("pan", "mbgmulti", "cannot be used for training"),
        ("pan,pan,pan,pan,none", "mini", "5 mechanisms for 4 slots"),
        ("san,pan", "mini", "name it last"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_impossible_run_generates_no_data_and_leaves_no_folder(command, attn, variant, message, tmp_path):
    named = attn if command == "run" else attn.replace(",", "+")
    call = [command, "--attn", named, "--variant", variant, "--root", str(tmp_path / "root")]
    done = CliRunner().invoke(cli.bench, call)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("attn", "width"), [("none", 32), ("pan", 16)])
def test_a_network_of_another_configuration_is_refused(attn, width, mini, tmp_path):
    with pytest.raises(ValueError, match="this does not match the configuration"):
        experiment.run(configured(mini, "pan"), mini, tmp_path, network=CheckedNetwork(resolve_network(attn, width)))
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_built_leaves_no_folder(mini, tmp_path):
    with pytest.raises(UsageProblemError, match="5 mechanisms for 4 slots"):
        experiment.run(configured(mini, "pan,pan,pan,pan,none"), mini, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_diverges_is_recorded_and_ends_with_6(mini, tmp_path):
    config = configured(mini, recipe=Recipe("fast", "rmsprop", 1e30, 50, 2, "steps"))
    with pytest.raises(RunProblemError, match="diverged") as error:
        experiment.run(config, mini, tmp_path)
    assert error.value.exit_code == 6
    result = json.loads((tmp_path / config.run_id / "result.json").read_text())
    assert result["status"] == "diverged"
    assert "epoch 1" in result["reason"]
    assert "accuracy" not in result


BUFFERS = """
import torch
from torch import nn
class Buffers(nn.Module):
    def __init__(self, channels, query_dim):
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        self.register_buffer("never", torch.tensor(float("-inf")))
        self.register_buffer("counted", torch.zeros(()))
    def forward(self, x, query):
        if self.training:
            self.counted.add_({step})
        return self.score(x)
"""


@pytest.mark.parametrize(("step", "status"), [("1.0", "ok"), ("float('inf')", "diverged")])
def test_a_buffer_that_becomes_infinite_ends_the_run_and_a_constant_one_does_not(step, status, mini, tmp_path):
    (tmp_path / "own.py").write_text(BUFFERS.format(step=step))
    config = configured(mini, f"{tmp_path / 'own.py'}:Buffers", replace(SHORT, epochs=1))
    with contextlib.suppress(RunProblemError):
        experiment.run(config, mini, tmp_path)
    assert json.loads((tmp_path / config.run_id / "result.json").read_text())["status"] == status


def test_a_run_that_fails_is_recorded_with_its_reason(mini, tmp_path, monkeypatch):
    monkeypatch.setattr(final_test, "test", lambda *_: 1 / 0)
    config = configured(mini, recipe=Recipe("fast", "adam", 0.003, 200, 1, "onecycle"))
    with pytest.raises(RunProblemError, match="ZeroDivisionError"):
        experiment.run(config, mini, tmp_path)
    result = json.loads((tmp_path / config.run_id / "result.json").read_text())
    assert (result["status"], result["reason"]) == ("failed", "ZeroDivisionError: division by zero")
    monkeypatch.undo()
    experiment.run(config, mini, tmp_path)  # the same command tries again
    assert json.loads((tmp_path / config.run_id / "result.json").read_text())["status"] == "ok"


def test_a_folder_of_another_run_is_a_mismatch(mini, tmp_path):
    config = configured(mini)
    records.write_json(tmp_path / config.run_id / "config.json", {"attn": "other"})
    with pytest.raises(MismatchProblemError, match="another configuration"):
        experiment.run(config, mini, tmp_path)


def test_one_training_image_is_too_few(make, tmp_path):
    folder = make("mini", sizes={"train": 1, "val": 5, "test": 5})
    with pytest.raises(DataProblemError, match="needs 2 or more"):
        experiment.run(configured(folder), folder, tmp_path)


def test_recipe_label_of_a_faded_run_has_the_fading(mini, tmp_path):
    run = experiment.run(configured(mini, recipe=replace(SHORT, epochs=1, fade=0.5)), mini, tmp_path)
    assert json.loads((run / "result.json").read_text())["recipe"] == "fast,epochs=1,fade=0.5"
