"""The implementation of the diagonal LSTM in records and on boards."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.conformance.checks import require_buildable
from bench.kernels.diagonal_lstm import VARIABLE, ImplementationError
from bench.leaderboard import snapshot
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import from_csv, to_csv, to_text
from bench.runs import experiment
from bench.runs.validation import check_result
from mnistref.common.errors import UsageProblemError
from mnistref.variants import VARIANTS
from tests.bench.leaderboard.helpers import result

CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")
LAST = "none,none,none,arnn"


def configured(mini, attn=LAST):
    return experiment.configure(mini, attn, 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU)))


@pytest.fixture(scope="module")
def runs(mini, tmp_path_factory):
    """Return a folder with a run with a diagonal LSTM and a run without."""
    pytest.importorskip("numba")
    runs = tmp_path_factory.mktemp("ran")
    for attn in (LAST, "san"):
        experiment.run(replace(configured(mini, attn), recipe=replace(SHORT, epochs=1)), mini, runs)
    return runs


def test_result_names_the_used_implementation(runs):
    found = {r["attn"]: r for r in map(json.loads, (path.read_text() for path in runs.glob("*/result.json")))}
    assert (found[LAST]["diagonal_lstm"], found["san"]["diagonal_lstm"]) == ("cpu", None)


def test_implementations_before_an_interruption_are_recorded(mini, tmp_path, monkeypatch, interrupt_after):
    pytest.importorskip("numba")
    monkeypatch.setenv(VARIABLE, "reference")
    with interrupt_after(2), pytest.raises(KeyboardInterrupt):
        experiment.run(configured(mini), mini, tmp_path)
    monkeypatch.delenv(VARIABLE)
    folder = experiment.run(configured(mini), mini, tmp_path)
    assert json.loads((folder / "result.json").read_text())["diagonal_lstm"] == "cpu, reference"


def test_unavailable_implementation_is_an_error_of_one_line(mini, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UsageProblemError, match="'triton' takes fp32 and bf16 on CUDA") as e:
        experiment.run(configured(mini), mini, tmp_path)
    assert isinstance(e.value.__cause__, ImplementationError)
    said = json.loads((tmp_path / configured(mini).run_id / "result.json").read_text())
    assert (said["status"], said["reason"]) == ("failed", str(e.value))


def test_checks_on_the_cpu_ignore_the_implementation_requested_for_a_gpu(monkeypatch):
    monkeypatch.setenv(VARIABLE, "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    require_buildable("none,none,none,arnn:hidden=4", VARIANTS["mini"])
    assert os.environ[VARIABLE] == "triton"


def test_board_notes_rows_that_used_a_slower_implementation():
    h100 = "NVIDIA H100 80GB HBM3"
    board = build_board(
        [
            result("arnn", device=h100, diagonal_lstm="packed, triton"),
            result("arnn-ind", device=h100, diagonal_lstm="triton"),
            result("brnn2", diagonal_lstm="cpu"),
            result("brnn3", diagonal_lstm="cpu"),
            result("unet3-arnn", diagonal_lstm="amx"),
            result("brnn3", seed=1, diagonal_lstm="reference"),
            result("unet2-arnn"),
            result("san", diagonal_lstm=None),
        ]
    )
    told = dict(zip(board["attn"], board["diagonal_lstm"].fillna(""), strict=True))
    expected = {
        "arnn": "packed, triton",
        "arnn-ind": "triton",
        "brnn2": "cpu",
        "brnn3": "cpu; reference",
        "unet3-arnn": "amx",
    }
    assert told == {**expected, "unet2-arnn": "", "san": ""}
    notes = [line for line in to_text(board).splitlines() if "diagonal LSTM" in line]
    assert len(notes) == 2
    assert any(n.startswith("arnn on ") and "ran as packed, not only as triton" in n for n in notes)
    assert any(n.startswith("brnn3 on ") and "ran as reference, not only as cpu" in n for n in notes)
    assert to_text(from_csv(to_csv(board))) == to_text(board)


@pytest.mark.parametrize(("value", "good"), [("cpu", True), (None, True), (3, False), (["cpu"], False)])
def test_implementation_of_a_result_must_be_text(value, good):
    assert check_result(result(diagonal_lstm=value)) == ([] if good else ["diagonal_lstm"])


def test_board_without_the_implementation_column_is_valid_only_for_old_records(runs, tmp_path):
    for name, forgets in (("old", True), ("new", False)):
        folder = tmp_path / name
        snapshot.save_snapshot(runs, folder)
        for path in (folder / "runs").glob("*/result.json"):
            content = json.loads(path.read_text())
            if forgets:
                content.pop("diagonal_lstm")
            path.write_text(json.dumps(content))
        board = from_csv((folder / "board.csv").read_text()).drop(columns="diagonal_lstm")
        (folder / "board.csv").write_text(to_csv(board))
    assert snapshot.rederive_boards(tmp_path / "old") == [str(tmp_path / "old")]
    with pytest.raises(Exception, match="only one of them has diagonal_lstm"):
        snapshot.rederive_boards(tmp_path / "new")
    shutil.rmtree(tmp_path / "new")
