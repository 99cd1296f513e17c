"""The command `bench leaderboard`: tables, files, and wrong options."""

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
        assert "no published results" in result.stderr
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
    assert "no published results" in shown
    markdown = call(cli.bench, "leaderboard", "--runs", runs, "--markdown").stdout
    assert markdown.startswith("### mini-")
    assert "\n| # | attn | seeds |" in markdown
    (tmp_path / "empty").mkdir()
    assert "no runs here" in call(cli.bench, "leaderboard", "--runs", tmp_path / "empty", code=2).stderr
    assert "unknown variant" in call(cli.bench, "leaderboard", "--runs", runs, "--variant", "x", code=2).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--claims", "--commands"], "give only one of --check, --save, --output, --commands and --claims"),
        (["--save", "a", "-o", "b.csv"], "give only one of"),
        (["--weights"], "--weights needs --save"),
        (["--baseline", "arn"], "did you mean 'arnn'"),
    ],
)
def test_options_of_the_leaderboard_that_contradict_each_other_are_refused(options, message, tmp_path):
    assert message in call(cli.bench, "leaderboard", "--runs", tmp_path, *options, code=2).stderr
    assert not list(tmp_path.iterdir())
