"""`bench saliency`: the table, the record, the picture, the board, and wrong input."""

import json

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import cli
from bench.attribution.measures import MEASURES
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.runs import experiment

pytest.importorskip("captum")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")


@pytest.fixture(scope="module")
def runs(mini, tmp_path_factory):
    """Runs of one epoch: one with a map, and one without."""
    folder = tmp_path_factory.mktemp("saliency") / "runs"
    settings = experiment.RunSettings(SHORT, "one", ComputeConfig(torch.device("cpu")))
    for attn in ("pan", "none"):
        experiment.run(experiment.configure(mini, attn, 0, settings), mini, folder)
    return folder


def saliency(*arguments) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.bench, ["saliency", *map(str, arguments), "--device", "cpu"])
    return done.exit_code, done.stdout.strip(), done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""


def find(runs, attn):
    (run,) = runs.glob(f"mini-{attn}-*")
    return run


def test_saliency_writes_a_table_a_record_and_a_picture(runs, mini, tmp_path):
    run, picture = find(runs, "pan"), tmp_path / "maps.png"
    arguments = ("--map", "attention,gradient,random", "--images", 8, "--data", mini, "-o", picture)
    code, said, error = saliency(run, *arguments)
    assert code == 0, error
    lines = said.splitlines()
    assert lines[0].startswith(f"{run.name}: 8 test questions of {mini.name}, ")
    assert lines[1].split()[:3] == ["map", "mass", "pointing"]
    assert [line.split()[0] for line in lines[2:6]] == ["attention", "gradient", "random", "oracle"]
    assert picture.stat().st_size > 20_000
    again = saliency(run, *arguments[:-2], "--json")
    rows = json.loads(again[1])
    assert [row["method"] for row in rows] == ["attention", "gradient", "random", "oracle"]
    for column in MEASURES:
        assert 0 <= rows[0][f"{column.name}_lo"] <= rows[0][column.name] <= rows[0][f"{column.name}_hi"] <= 1
    assert rows[3]["mask_correctness"] is None


def test_a_board_with_maps_is_saved_and_checked(runs, mini, tmp_path):
    for attn in ("pan", "none"):
        assert saliency(find(runs, attn), "--images", 6, "--data", mini, "--no-curves")[0] == 0
    board = tmp_path / "board"
    runner = CliRunner()
    assert runner.invoke(cli.bench, ["leaderboard", "--runs", str(runs), "--save", str(board)]).exit_code == 0
    table = pd.read_csv(board / "maps.csv")
    assert set(table["run"]) == {run.name for run in runs.glob("mini-*")}
    assert len(table) == 9 + 8  # `none` has no map of its own
    assert (board / "maps.md").read_text().count("| gradcam |") == 2
    check = ["leaderboard", "--check", str(board)]
    assert runner.invoke(cli.bench, check).exit_code == 0
    text = (board / "maps.csv").read_text()
    row = table.iloc[1]
    (board / "maps.csv").write_text(text.replace(str(row["iou_otsu"]), "0.5"))
    wrong = runner.invoke(cli.bench, check)
    assert wrong.exit_code == 4
    assert "row 2, iou_otsu" in wrong.stderr
    (board / "maps.csv").unlink()
    assert runner.invoke(cli.bench, check).exit_code == 4
    assert runner.invoke(cli.bench, ["leaderboard", "--runs", str(board / "runs"), "--save", str(board)]).exit_code == 0
    assert (board / "maps.csv").read_text() == text


def test_saliency_prints_a_table_of_randomised_layers(runs, mini):
    code, said, error = saliency(
        find(runs, "pan"), "--randomize", "--map", "attention,gradient,random", "--images", 4, "--data", mini
    )
    assert code == 0, error
    lines = [line.split() for line in said.splitlines()]
    assert lines[0] == ["randomised", "down", "to", "attention", "gradient"]
    assert lines[-2][0] == "stages.0"
    assert all(-1.01 <= float(number.replace("−", "-")) <= 1.01 for line in lines[1:-1] for number in line[1:])


def test_randomised_layers_do_not_depend_on_the_batch(runs, mini):
    """Batches see the same random weights, so that deterministic maps have the same correlations."""
    given = find(runs, "pan"), "--randomize", "--map", "attention,gradient", "--images", 4, "--data", mini, "--json"
    whole, parts = (json.loads(saliency(*given, "--batch", size)[1]) for size in (4, 3))
    assert [layer for layer, _ in whole] == [layer for layer, _ in parts]
    for (_, first), (_, second) in zip(whole, parts, strict=True):
        assert first == pytest.approx(second, abs=0.01)


def test_randomised_layers_need_a_map_of_the_network(runs, mini):
    for attn, method in (("pan", "uniform"), ("none", "attention")):
        given = "--randomize", "--map", method, "--images", 2, "--data", mini
        code, said, error = saliency(find(runs, attn), *given)
        assert (code, said) == (2, "")
        assert "has no map by these methods" in error


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--map", "grad-cam"), 2, "no map method 'grad-cam': did you mean 'gradcam'"),
        (("--map", "gradient,gradient"), 2, "named twice"),
        (("--images", "0"), 2, "--images"),
        (("--explain", "query"), 2, "--explain"),
        (("-o", "maps.jpg"), 2, "maps.jpg"),
    ],
)
def test_wrong_options_of_saliency_are_usage_errors_of_one_line(arguments, code, message, runs, mini):
    found, said, error = saliency(find(runs, "pan"), "--data", mini, *arguments)
    assert (found, said) == (code, "")
    assert message in error


def test_a_network_without_a_map_is_said_to_have_none(runs, mini):
    found, said, error = saliency(find(runs, "none"), "--data", mini, "--map", "attention", "--images", 4)
    assert (found, said) == (2, "")
    assert "none has no map of its own" in error


def test_saliency_of_a_folder_without_a_run_is_a_usage_error(tmp_path):
    found, said, error = saliency(tmp_path)
    assert (found, said) == (2, "")
    assert "no run here" in error
