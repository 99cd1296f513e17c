"""The command `bench sweep`: the board and the folders that it prints, and wrong options."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from bench.config import RECIPES
from bench.runs import experiment
from mnistref.common.errors import UsageProblemError
from tests.commands import call, run_arguments


def test_sweep_command_ends_with_the_board_of_its_runs(mini, tmp_path):
    call(cli.bench, *run_arguments(mini, tmp_path, "none"))
    sweep = ["sweep", "--attn", "san,pan", "--data", mini, "--seeds", "1", "--epochs", "1", "--runs", tmp_path]
    done = call(cli.bench, *sweep, "--device", "cpu", "--no-timing")
    assert "2 networks × 1 data set × 1 seed; each run has 400 training images and 1 epoch\n" in done.stderr
    board = done.stderr[done.stderr.index("#  attn") :]
    assert "san" in board
    assert "pan" in board
    assert "none" not in board.split("\n\n")[0]
    assert len(done.stdout.splitlines()) == 2
    results = [json.loads((Path(folder) / "result.json").read_text()) for folder in done.stdout.splitlines()]
    assert [result["train_step_ms"] for result in results] == [None, None]


def test_sweep_says_its_size_before_the_data_sets_are_made(tmp_path, monkeypatch):
    def refuse(*_):
        raise UsageProblemError("no data set here")

    monkeypatch.setattr(experiment, "prepare_dataset", refuse)
    sweep = ["sweep", "--attn", "none", "--variant", "mref,mini", "--train", "2500", "--root", tmp_path]
    lines = call(cli.bench, *sweep, code=2).stderr.splitlines()
    assert lines == [
        f"1 network × 2 data sets × 5 seeds; each run has 2,500 training images and {RECIPES['fast'].epochs} epochs; "
        "the time of a long sweep is estimated when its data is there",
        "error: no data set here",
    ]


def test_unwritable_runs_folder_is_reported_before_any_work(mini, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "bench.conformance.isolation.examine_networks", lambda *_: pytest.fail("networks were examined")
    )
    (tmp_path / "file").touch()
    arguments = ["sweep", "--attn", "none", "--data", str(mini), "--runs", str(tmp_path / "file" / "runs")]
    told = CliRunner().invoke(cli.bench, arguments)
    assert told.exit_code == 5
    assert told.stderr.startswith(f"error: {tmp_path / 'file'}: Not a directory; ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attn", "none,arn"], "did you mean 'arnn'"),
        (["--attn", "none", "--variant", "mini,mreff"], "did you mean 'mref'"),
        (["--attn", "none", "--variant", "mbgmulti"], "cannot be used for training"),
        (["--attn", "none", "--shard", "3/2"], "give I/N"),
        (["--attn", "none", "--seeds", "0"], "--seeds"),
        (["--attn", "none", "--scheduler", "nowhere"], "give tcp://HOST:PORT"),
        (["--attn", "none", "--scheduler", "nowhere", "--workers", "2"], "give --workers or --scheduler, not both"),
        (["--attn", "none", "--scheduler", "tcp://127.0.0.1:9", "--workers", "1"], "--workers or --scheduler"),
    ],
)
def test_wrong_arguments_of_the_sweep_command(arguments, message, tmp_path, monkeypatch, mini):
    if "--scheduler" in arguments:
        monkeypatch.setattr(experiment, "prepare_dataset", lambda *_: mini)
    assert message in call(cli.bench, "sweep", *arguments, "--root", str(tmp_path), code=2).stderr
