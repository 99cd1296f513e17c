"""The commands `bench run`, `show` and `leaderboard`: their output and exit codes."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import cli
from tests.commands import call, run_arguments


def test_run_and_leaderboard_commands_print_their_results(mini, tmp_path):
    runs = tmp_path / "runs"
    for attn in ("san", "pan"):
        result = call(cli.bench, *run_arguments(mini, runs, attn))
        folder = Path(result.stdout.strip())
        assert (folder / "result.json").is_file()
        assert "device: cpu" in result.stderr
        assert "compare with nothing published" in result.stderr
    again = call(cli.bench, *run_arguments(mini, runs, "pan"))
    assert "already finished" in again.stderr
    assert Path(again.stdout.strip()) == folder
    board = tmp_path / "board.csv"
    assert call(cli.bench, "leaderboard", "--runs", runs, "-o", board).stdout.strip() == str(board)
    table = pd.read_csv(board)
    assert sorted(table["attn"]) == ["pan", "san"]
    assert 1 in set(table["rank"]) <= {1, 2}
    assert table["relative_runtime"].notna().all()
    shown = call(cli.bench, "leaderboard", "--runs", runs).stdout
    assert "compare with nothing published" in shown
    markdown = call(cli.bench, "leaderboard", "--runs", runs, "--markdown").stdout
    assert markdown.startswith("### mini-")
    assert "\n| # | attn | seeds |" in markdown
    (tmp_path / "empty").mkdir()
    assert "no runs here" in call(cli.bench, "leaderboard", "--runs", tmp_path / "empty", code=2).stderr
    assert "unknown variant" in call(cli.bench, "leaderboard", "--runs", runs, "--variant", "x", code=2).stderr


def test_show_draws_a_run(mini, root, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    folder = Path(call(cli.bench, *run_arguments(mini, root / "runs", "san")).stdout.strip())
    monkeypatch.chdir(tmp_path)
    # the data set is next to the run, and the picture has the name of the run
    shown = call(cli.bench, "show", folder, "--images", 1)
    assert shown.stdout == f"{folder.name}.png\n"
    assert re.search(r"picture: 1 test image, [01] answers? right\n", shown.stderr)
    assert (tmp_path / shown.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    far = shutil.copytree(folder, tmp_path / "elsewhere" / "run")
    assert call(cli.bench, "show", far, "--images", 1, "-o", "moved.png").stdout == "moved.png\n"  # the run recorded it
    (tmp_path / "moved.png").unlink()
    config = json.loads((far / "config.json").read_text())
    (far / "config.json").write_text(json.dumps(config | {"data_folder": str(tmp_path / "gone" / mini.name)}))
    missing = call(cli.bench, "show", far, code=2).stderr
    assert "give its place with --data or --root" in missing
    assert "mnistref generate --variant mini --seed 0 --train 400" in missing
    for more in (["--data", mini], ["--root", root]):
        drawn = call(cli.bench, "show", far, "-o", "new/a.svg", "--image", 3, "--image", 1, *more)
        assert drawn.stdout == "new/a.svg\n"
        assert re.search(r"picture: 2 test images, [012] answers? right\n", drawn.stderr)
        assert drawn.stderr.count("\n") == 1
    (far / "weights.safetensors").write_bytes(b"damaged")
    for more, code, message in (
        (["--data", mini], 3, "weights.safetensors: "),
        (["--images", 1, "--image", 1], 2, "not both"),
        (["-o", "a.gif"], 2, "ends in .png"),
        (["-o", "/dev/null/a.png"], 5, "/dev/null"),
        (["--samples", 2], 2, "draws no samples"),
        (["--image", 120], 2, "no test image 120"),
        (["--data", tmp_path], 2, "no data set here"),
    ):
        run = far if code == 3 else folder
        result = call(cli.bench, "show", run, *more, code=code)
        assert message in result.stderr
        assert result.stdout == ""
        assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", f"{folder.name}.png", "new"]
    (far / "result.json").unlink()
    assert "not finished" in call(cli.bench, "show", far, code=3).stderr
    assert "no run here" in call(cli.bench, "show", tmp_path, code=2).stderr


def test_run_command_generates_missing_data(root, tmp_path, monkeypatch):
    from bench import config

    small = config.Preset(
        "mini", {"train": 60, "val": 20, "test": 20}, "mnist5k", config.Recipe("fast", "adam", 0.003, 50, 1, "onecycle")
    )
    monkeypatch.setitem(config.PRESETS, "quick", small)
    arguments = ["run", "--attn", "none", "--preset", "quick", "--root", root, "--runs", tmp_path, "--device", "cpu"]
    done = call(cli.bench, *arguments)
    assert done.stderr.count("compare with nothing published") == 1  # of the data set and of the run
    result = json.loads((Path(done.stdout.strip()) / "result.json").read_text())
    assert (result["variant"], result["n_test"], result["dataset"]["digits"]) == ("mini", 20, "mnist5k")


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


def test_sweep_command_ends_with_the_board_of_its_runs(mini, tmp_path):
    call(cli.bench, *run_arguments(mini, tmp_path, "none"))
    sweep = ["sweep", "--attn", "san,pan", "--data", mini, "--seeds", "1", "--epochs", "1", "--runs", tmp_path]
    done = call(cli.bench, *sweep, "--device", "cpu", "--no-timing")
    board = done.stderr[done.stderr.index("#  attn") :]
    assert "san" in board
    assert "pan" in board
    assert "none" not in board.split("\n\n")[0]
    assert len(done.stdout.splitlines()) == 2
    results = [json.loads((Path(folder) / "result.json").read_text()) for folder in done.stdout.splitlines()]
    assert [result["train_step_ms"] for result in results] == [None, None]


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--attn", "nosuch"], 2, "unknown mechanism 'nosuch'"),
        (["--attn", "arn"], 2, "did you mean 'arnn'"),
        (["--attn", "pan,pan-ctx,pan,pan-ctx,pan"], 2, "5 slots"),
        (["--attn", "pan,pan,pan,pan,pan"], 2, "5 slots"),
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
