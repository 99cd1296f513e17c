"""The progress of a run in the terminal, in log files and in TensorBoard."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

import cli
from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.data.loading import load_split
from bench.evaluation.evaluate import accuracy
from bench.runs import records
from bench.runs.experiment import ExecutionOptions, RunSettings, configure, run
from bench.training import progress


def trained(mini, runs, *more: str):
    training = ["--attn", "pan", "--data", str(mini), "--epochs", "2", "--batch", "50", "--device", "cpu"]
    return CliRunner().invoke(cli.bench, ["run", *training, "--runs", str(runs), "--threads", "1", *more])


def scalars(run) -> dict[str, list[tuple[int, float]]]:
    """Return the scalars that TensorBoard shows."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / progress.FOLDER))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_log_file_has_one_line_per_epoch_and_no_progress_bar(mini, tmp_path):
    done = trained(mini, tmp_path)
    lines = done.stderr.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("epoch")] == [["epoch", "1"], ["epoch", "2"]]
    assert "\r" not in done.stderr
    assert "%|" not in done.stderr
    assert [line.split()[0] for line in lines[:6]] == ["pan", "mini", "epoch", "epoch", "timing", "test"]
    assert torch.get_num_threads() == 1


def test_tensorboard_shows_the_values_of_the_record(mini, tmp_path):
    done = trained(mini, tmp_path, "--log", "tensorboard")
    assert done.exit_code == 0, done.stderr
    run = tmp_path / done.stdout.strip()
    history = [json.loads(line) for line in (run / records.HISTORY).read_text().splitlines()]
    result = json.loads((run / records.RESULT).read_text())
    shown = scalars(run)
    for tag, key in (("loss/train", "train_loss"), ("accuracy/val", "val_accuracy"), ("lr", "lr")):
        assert shown[tag] == [(h["steps"], pytest.approx(h[key], rel=1e-6)) for h in history]
    assert shown["accuracy/test"] == [(16, pytest.approx(result["accuracy"], rel=1e-6))]
    shutil.rmtree(run / progress.FOLDER)  # no other record of the run depends on it
    assert records.is_finished(run)


@pytest.mark.long_form
def test_resumed_and_restarted_runs_log_each_step_once(mini, tmp_path, interrupt_after):
    with interrupt_after(2):
        assert trained(mini, tmp_path, "--log", "tensorboard").exit_code == 130
    run = tmp_path / trained(mini, tmp_path, "--log", "tensorboard").stdout.strip()
    assert [step for step, _ in scalars(run)["loss/train"]] == [8, 16]
    assert trained(mini, tmp_path, "--log", "tensorboard", "--restart").exit_code == 0
    assert [step for step, _ in scalars(run)["loss/train"]] == [8, 16]


def test_missing_tensorboard_is_an_error_before_training(mini, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    done = trained(mini, tmp_path, "--log", "tensorboard")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install tensorboard" in done.stderr
    assert not list(tmp_path.iterdir())


def test_observer_sees_the_trainer_after_each_step_and_changes_nothing(mini, tmp_path):
    recipe = replace(RECIPES["fast"], epochs=2, batch=50)
    config = configure(mini, "pan", 0, RunSettings(recipe, "one", ComputeConfig(torch.device("cpu"))))
    val, seen = load_split(mini, "val", "one", torch.device("cpu")), []

    def look(trainer):
        seen.append((trainer.steps_done, accuracy(trainer.model, val)))
        trainer.model.train()

    options = ExecutionOptions(progress=progress.ProgressOptions(on_step=look))
    looked = run(config, mini, tmp_path / "looked", options=options)
    alone = run(config, mini, tmp_path / "alone")
    history = [json.loads(line) for line in (looked / records.HISTORY).read_text().splitlines()]
    steps = history[0]["steps"]
    assert [done for done, _ in seen] == list(range(1, 2 * steps + 1))
    assert [seen[steps - 1][1], seen[-1][1]] == [record["val_accuracy"] for record in history]
    assert (looked / records.WEIGHTS).read_bytes() == (alone / records.WEIGHTS).read_bytes()


@pytest.mark.parametrize(
    ("steps", "seconds", "line"),
    [
        (1000, 3.0, "about 50 min of training: 1,000 steps, 3 s each"),
        (20_000, 0.9, "about 5 h of training: 20,000 steps, 0.9 s each"),
        (50, 1.0, None),
        (3, 1000.0, None),
    ],
)
def test_a_long_training_is_estimated_once_after_its_first_steps(steps, seconds, line):
    """The first step, which compiles and allocates, is not counted."""
    estimate = progress.TrainingEstimate(steps)
    lines = [estimate.after_step(100.0 + seconds * k) for k in range(min(steps, 40))]
    assert [said for said in lines if said] == [line] * (line is not None)
    if line:
        assert lines.index(line) <= 4


def test_evaluation_shows_progress_and_optionally_the_time(mini, tmp_path):
    done = trained(mini, tmp_path, "--no-timing")
    result = json.loads((tmp_path / done.stdout.strip() / records.RESULT).read_text())
    assert result["train_step_ms"] is result["relative_runtime"] is result["peak_memory_mb"] is None
    assert "timing" not in done.stderr
    board = CliRunner().invoke(cli.bench, ["leaderboard", "--runs", str(tmp_path)])
    assert board.exit_code == 0
    assert "pan" in board.stdout
    timed = trained(mini, tmp_path / "timed")
    assert "timing a training step and inference" in timed.stderr
