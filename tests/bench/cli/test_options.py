"""Groups of options: each is passed to a command as one value, and names follow the registries."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.cli.option_values import BoardOptions, ComputeOptions, RunOptions, TrainingOptions
from bench.cli.options import (
    add_board_options,
    add_compute_options,
    add_run_options,
    add_training_options,
    describe_presets,
)
from bench.config import DEFAULT_BASELINE, DEFAULT_NETWORK, DEVICES, PRESETS


def values_of(add, argument: str, *arguments: str) -> object:
    """Return the value that a command with these options receives."""
    received = []
    command = click.command()(add(lambda **values: received.append(values)))
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    ((name, value),) = received[0].items()
    assert name == argument
    return value


def test_options_of_a_board_have_their_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    values = values_of(add_board_options, "board_options")
    assert values == BoardOptions(Path("data_cache/runs").absolute(), None, DEFAULT_BASELINE)
    values = values_of(add_board_options, "board_options", "--runs", "mine", "--variant", "mref", "--baseline", "san")
    assert values == BoardOptions(Path("mine").absolute(), "mref", "san")


def test_options_of_computing_have_their_defaults():
    assert values_of(add_compute_options, "compute_options") == ComputeOptions("auto", "fp32", "auto", False)
    for device in DEVICES:
        values = values_of(add_compute_options, "compute_options", "--device", device, "--deterministic")
        assert values == ComputeOptions(device, "fp32", "auto", True)


def test_options_of_a_run_have_their_defaults():
    assert values_of(add_run_options, "run_options") == RunOptions(None, None, None, None, 0, None)
    assert values_of(add_run_options, "run_options", "--attn", "pan", "--seed", "7").seed == 7


def test_options_of_training_leave_the_recipe_to_the_preset():
    values = values_of(add_training_options, "training_options")
    assert isinstance(values, TrainingOptions)
    assert (values.architecture, values.width, values.timing, values.online) == (DEFAULT_NETWORK, None, True, False)
    unset = (values.recipe_name, values.preset_name, values.epochs, values.batch, values.lr, values.fade)
    assert unset == (None,) * 6
    values = values_of(add_training_options, "training_options", "--questions", "all", "--no-timing", "--lr", "0.25")
    assert (values.questions, values.timing, values.lr) == ("all", False, 0.25)


@pytest.mark.parametrize("arguments", [["--lr", "0"], ["--fade", "1.5"], ["--width", "0"], ["--epochs", "0"]])
def test_values_of_training_out_of_range_are_refused(arguments):
    command = click.command()(add_training_options(lambda **_: None))
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert arguments[0] in done.output


def test_every_preset_is_described_in_one_line():
    lines = describe_presets().splitlines()
    assert lines[:2] == ["\b", "Presets:"]
    assert [line.split()[0] for line in lines[2:]] == list(PRESETS)
