"""The command `bench run`: its output, exit codes, and the sizes that a data set must have."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from tests.commands import call, run_arguments


@pytest.fixture
def few(make):
    return make("mini", sizes={"train": 20, "val": 10, "test": 10})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "1"], "1 is not in the range x>=2"),
        (["--batch", "21", "--questions", "one"], "has 20 training questions; give 20 or fewer"),
        (["--batch", "21", "--queries", "author"], "training images; give "),
        (["--batch", "999", "--queries", "all", "--questions", "one"], "training questions; give "),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_impossible_batch_size_is_refused_before_training(command, options, words, few, tmp_path):
    arguments = [command, "--attn", "se", "--data", str(few), "--runs", str(tmp_path / "runs"), *options]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert not (tmp_path / "runs").exists()


def test_data_set_with_one_training_question_is_refused(make, tmp_path):
    tiny = make("mini", sizes={"train": 1, "val": 1, "test": 1})
    done = CliRunner().invoke(cli.bench, ["run", "--attn", "se", "--data", str(tiny), "--batch", "2"])
    assert done.exit_code == 2
    assert "has 1 training image; make a larger data set: a step needs 2" in done.stderr


def test_a_batch_larger_than_the_data_set_reports_the_size_of_a_step(few, tmp_path):
    arguments = ["run", "--attn", "none", "--data", str(few), "--runs", str(tmp_path), "--epochs", "1"]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 0, done.output
    assert "the batch is 20 images instead of 32, because the data set has no more" in done.stderr


def test_run_command_generates_missing_data(root, tmp_path, monkeypatch):
    from bench import config

    small = config.Preset(
        "mini", {"train": 60, "val": 20, "test": 20}, "mnist5k", config.Recipe("fast", "adam", 0.003, 50, 1, "onecycle")
    )
    monkeypatch.setitem(config.PRESETS, "quick", small)
    arguments = ["run", "--attn", "none", "--preset", "quick", "--root", root, "--runs", tmp_path, "--device", "cpu"]
    done = call(cli.bench, *arguments)
    assert done.stderr.count("no published results") == 1  # of the data set and of the run
    result = json.loads((Path(done.stdout.strip()) / "result.json").read_text())
    assert (result["variant"], result["n_test"], result["dataset"]["digits"]) == ("mini", 20, "mnist5k")


@pytest.mark.parametrize("attn", ["pan:kernel=3", "pan"])
def test_a_network_is_built_once_per_run_with_the_weights_of_the_seed(attn, few, tmp_path, monkeypatch):
    from bench.networks.attribute import AttributeCNN
    from bench.runs import experiment, records
    from bench.runs.network_loading import read_config

    built, add_mechanisms = [], AttributeCNN._add_mechanisms

    def count(network, mechanisms) -> None:
        built.append([mechanism.full_name for mechanism in mechanisms])
        add_mechanisms(network, mechanisms)

    monkeypatch.setattr(AttributeCNN, "_add_mechanisms", count)
    done = call(cli.bench, *run_arguments(few, tmp_path / "checked", attn), "--no-timing", "--seed", 3)
    assert built == [[attn] * 4]
    run = Path(done.stdout.strip())
    again = experiment.run(read_config(run / records.CONFIG)[0], few, tmp_path / "unchecked")
    assert (again / records.WEIGHTS).read_bytes() == (run / records.WEIGHTS).read_bytes()


def test_run_command_prints_a_summary_and_draws_a_picture(mini, tmp_path):
    pytest.importorskip("matplotlib")
    done = call(cli.bench, *run_arguments(mini, tmp_path, "pan"), "--picture")
    folder = Path(done.stdout.strip())
    assert (folder / "attention.png").read_bytes().startswith(b"\x89PNG")
    for text in ("most frequent colour of each image", "uniform map", "× san", "attention.png", "bench leaderboard"):
        assert text in done.stderr
    assert re.search(r"picture: 4 test images from small to large digits, \d answers? right\n", done.stderr)
    again = call(cli.bench, *run_arguments(mini, tmp_path, "pan"), "--picture")
    assert "already finished" in again.stderr
    assert "uniform map" in again.stderr
    assert "drawing" not in again.stderr
    none = call(cli.bench, *run_arguments(mini, tmp_path, "none"), "--picture")
    assert not (Path(none.stdout.strip()) / "attention.png").exists()


def test_a_run_is_finished_if_its_picture_cannot_be_written(mini, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def fail(*_):
        raise PermissionError(13, "Permission denied", "attention.png")

    monkeypatch.setattr("bench.visualization.attention_maps.save_picture", fail)
    done = call(cli.bench, *run_arguments(mini, tmp_path, "pan"), "--picture")
    assert Path(done.stdout.strip()).is_dir()
    assert "no picture: [Errno 13]" in done.stderr
    assert "bench leaderboard" in done.stderr


def test_the_number_of_training_images_makes_another_data_set(idx_folder, tmp_path):
    """The data set mini has the digits of the preset quick, so that nothing is downloaded."""
    sizes = ["--variant", "mini", "--digits", idx_folder, "--train", "40", "--epochs", "1", "--root", tmp_path]
    done = call(cli.bench, "run", "--attn", "none", *sizes, "--no-timing", "--device", "cpu")
    (manifest,) = tmp_path.glob("datasets/*/dataset.json")
    splits = json.loads(manifest.read_text())["splits"]
    assert {name: split["images"] for name, split in splits.items()} == {"train": 40, "val": 1000, "test": 2000}
    config = json.loads((Path(done.stdout.strip()) / "config.json").read_text())
    assert config["recipe"]["batch"] == 16
    assert "not both" in call(cli.bench, *run_arguments(manifest.parent, tmp_path), "--train", "9", code=2).stderr


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--attn", "nosuch"], 2, "unknown mechanism 'nosuch'"),
        (["--attn", "arn"], 2, "did you mean 'arnn'"),
        (["--attn", "pan,pan-ctx,pan,pan-ctx,pan"], 2, "5 mechanisms for 4 slots"),
        (["--attn", "pan,pan,pan,pan,pan"], 2, "5 mechanisms for 4 slots"),
        (["--variant", "mini"], 2, "not both"),
        (["--recipe", "slow"], 2, "unknown recipe 'slow'"),
        (["--epochs", "0"], 2, "epochs"),
        (["--batch", "0"], 2, "batch"),
        (["--lr", "0"], 2, "lr"),
        (["--queries", "none"], 2, "queries"),
        (["--runs", "/dev/null/runs"], 5, "/dev/null/runs"),
    ],
)
def test_bad_run_arguments_end_in_one_line(more, code, message, mini, tmp_path):
    result = call(cli.bench, *run_arguments(mini, tmp_path), *more, code=code)
    assert message in result.stderr
    assert result.stdout == ""


def test_a_run_that_diverges_ends_with_6(mini, tmp_path, monkeypatch):
    from dataclasses import replace

    from bench import config

    hot = replace(config.RECIPES["fast"], lr=1e30, optimizer="rmsprop")
    monkeypatch.setitem(config.PRESETS, "full", replace(config.PRESETS["full"], recipe=hot))
    assert "diverged" in call(cli.bench, *run_arguments(mini, tmp_path), code=6).stderr
    assert "1 diverged" in call(cli.bench, "leaderboard", "--runs", tmp_path).stdout
