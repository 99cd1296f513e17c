"""Ctrl-C during a training saves the last finished step, and the resumed run ends with the same bits."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import cli
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.runs import experiment, records
from bench.runs.network_loading import load_model
from bench.training import checkpoints
from bench.training.progress import ProgressOptions
from tests.bench.bench_command import TRAINING
from tests.helpers import long_form

RECIPE = Recipe("fast", "adam", lr=0.003, batch=15, epochs=2, schedule="onecycle")
STEPS = 8
"""Steps of an epoch: 120 questions in batches of 15."""
SETTINGS = experiment.RunSettings(RECIPE, "one", ComputeConfig(torch.device("cpu")))
ATTN = "arnn-sampled"
"""A mechanism that draws random numbers, in validation too."""


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def run(data: Path, runs: Path, progress: ProgressOptions | None = None, attn: str = ATTN) -> Path:
    options = experiment.ExecutionOptions(progress=progress or ProgressOptions())
    return experiment.run(experiment.configure(data, attn, 0, SETTINGS), data, runs, options=options)


@pytest.fixture(scope="module")
def few(make) -> Path:
    """Return a data set with 120 questions for the training."""
    return make("mini", sizes={"train": 120, "val": 30, "test": 30})


@pytest.fixture(scope="module")
def uninterrupted(few, tmp_path_factory) -> Path:
    return run(few, tmp_path_factory.mktemp("runs"))


def state_of(runs: Path) -> tuple[int, int]:
    """Return the complete epochs of the checkpoint, and the steps after them."""
    (path,) = runs.glob(f"*/{checkpoints.FOLDER}/{checkpoints.STATE}")
    state = json.loads(path.read_text())
    return state["epoch"], (state["under"] or {"steps": 0})["steps"]


def history_of(folder: Path) -> list[dict]:
    lines = (folder / records.HISTORY).read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.endswith("seconds")} for line in lines]


def require_same(folder: Path, other: Path) -> None:
    assert history_of(folder) == history_of(other)
    weights, expected = (load_model(each)[1].state_dict() for each in (folder, other))
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


@pytest.mark.parametrize("step", long_form([1, 3, STEPS, STEPS + 2], [3, STEPS]))
def test_interruption_in_training_saves_the_current_step(step, few, uninterrupted, tmp_path, caplog):
    def press_at(trainer) -> None:
        if trainer.steps_done == step:
            press()
            assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # a second Ctrl-C ends the process at once

    with pytest.raises(KeyboardInterrupt), caplog.at_level("INFO"):
        run(few, tmp_path, ProgressOptions(on_step=press_at))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    epoch, steps = divmod(step - 1, STEPS)
    assert state_of(tmp_path) == (epoch, steps + 1)
    line = f"saved epoch {epoch + 1}, step {steps + 1}; the same command resumes there, unless it has --restart"
    assert line in caplog.messages
    require_same(run(few, tmp_path), uninterrupted)


@pytest.mark.parametrize("epoch", [0, 1])
def test_interruption_in_validation_saves_the_last_step_of_the_epoch(epoch, few, uninterrupted, tmp_path, monkeypatch):
    """The validation has advanced the random generator, because the mechanism draws its maps."""
    validate = experiment.Trainer._validate

    def press_after(self, batch_size: int) -> float:
        value = validate(self, batch_size)
        if self.epoch == epoch:
            press()
        return value

    with monkeypatch.context() as patch:
        patch.setattr(experiment.Trainer, "_validate", press_after)
        with pytest.raises(KeyboardInterrupt):
            run(few, tmp_path)
    assert state_of(tmp_path) == (epoch, STEPS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    require_same(run(few, tmp_path), uninterrupted)


def test_interruption_while_recording_repeats_the_validation(few, uninterrupted, tmp_path, monkeypatch):
    append = records.append_history

    def press_after(*arguments) -> None:
        append(*arguments)
        press()

    with monkeypatch.context() as patch:
        patch.setattr(records, "append_history", press_after)
        with pytest.raises(KeyboardInterrupt):
            run(few, tmp_path)
    assert state_of(tmp_path) == (0, STEPS)
    require_same(run(few, tmp_path), uninterrupted)


def test_other_signal_handlers_and_threads_are_unchanged(few, tmp_path):
    received = []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(few, tmp_path / "ignored", ProgressOptions(on_step=lambda _: press()), "san")
        signal.signal(signal.SIGINT, lambda *_: received.append(1))
        thread = threading.Thread(target=lambda: received.append(run(few, tmp_path / "thread", attn="san")))
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (received[-1] / records.RESULT).is_file()


def test_interrupted_command_exits_with_130_and_resumes(mini, tmp_path, monkeypatch):
    save = checkpoints.PeriodicCheckpointer.step
    steps = [0]

    def press_at_third(self) -> None:
        save(self)
        steps[0] += 1
        if steps[0] == 3:
            press()

    command = ["run", "--attn", "san", "--data", str(mini), "--runs", str(tmp_path), "--questions", "one", *TRAINING]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.PeriodicCheckpointer, "step", press_at_third)
        done = CliRunner().invoke(cli.bench, command)
    assert (done.exit_code, done.stdout) == (130, "")
    assert "saved epoch 1, step 3; the same command resumes there" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: interrupted; run the same command again")
    again = CliRunner().invoke(cli.bench, command)
    assert again.exit_code == 0
    assert "resuming after epoch 0, step 3" in again.stderr
