"""The tables of attacks and swapped questions of a stored board: wrong, missing and superfluous ones."""

import shutil

import pandas as pd
import pytest

from bench.common.json_files import write_json
from bench.runs import records
from tests.bench.bench_command import bench
from tests.bench.leaderboard.helpers import result
from tests.bench.runs.question_cases import write_attack, write_swap


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A board whose run has an attack record and a swap record."""
    folder = tmp_path_factory.mktemp("saved")
    run = folder / "runs" / "mbg-arnn-s0"
    run.mkdir(parents=True)
    write_json(run / records.RESULT, result())
    write_attack(run)
    write_swap(run)
    assert bench("leaderboard", "--runs", run.parent, "--save", folder / "board")[0] == 0
    assert bench("leaderboard", "--check", folder / "board")[0] == 0
    return folder / "board"


@pytest.mark.parametrize(("name", "column"), [("attacks", "fooling_rate_hi"), ("swaps", "moved")])
def test_a_changed_number_of_a_table_is_named(name, column, saved, tmp_path):
    board = shutil.copytree(saved, tmp_path / "board")
    table = pd.read_csv(board / f"{name}.csv")
    table.loc[0, column] += 0.01
    table.to_csv(board / f"{name}.csv", index=False)
    code, _, error = bench("leaderboard", "--check", board)
    assert code == 4
    assert f"{name}.csv: row 1, {column}: " in error


@pytest.mark.parametrize("name", ["attacks.csv", "swaps.md"])
def test_a_missing_table_is_noticed_and_written_again(name, saved, tmp_path):
    board = shutil.copytree(saved, tmp_path / "board")
    text = (board / name).read_text()
    (board / name).unlink()
    code, _, error = bench("leaderboard", "--check", board)
    assert code == 4
    assert name in error
    assert bench("leaderboard", "--runs", board / "runs", "--save", board)[0] == 0
    assert (board / name).read_text() == text


def test_a_table_without_records_is_noticed_and_removed(saved, tmp_path):
    board = shutil.copytree(saved, tmp_path / "board")
    for path in board.glob("runs/*/swap.*"):
        path.unlink()
    code, _, error = bench("leaderboard", "--check", board)
    assert code == 4
    assert "no run of this board has swap.json; delete it" in error
    assert bench("leaderboard", "--runs", board / "runs", "--save", board)[0] == 0
    assert not (board / "swaps.csv").exists()
    assert not (board / "swaps.md").exists()
