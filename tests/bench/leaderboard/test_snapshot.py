"""Boards that are saved with their records: every number follows from the records, or an error names it."""

import json
import lzma
import shutil

import pytest
import torch
from click.testing import CliRunner

import cli
from bench.common import packing
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.evaluation import picture_files
from bench.leaderboard import snapshot
from bench.leaderboard.formatting import from_csv, to_csv
from bench.runs import experiment, records
from bench.runs.network_loading import load_model
from mnistref.common.errors import DataProblemError, MismatchProblemError
from tests.helpers import TOP

CPU = ComputeConfig(torch.device("cpu"))
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")


def leaderboard(*arguments) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.bench, ["leaderboard", *map(str, arguments)])
    return done.exit_code, done.stdout.strip(), done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""


@pytest.fixture(scope="session")
def runs(mini, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for attn in ("san", "pan"):
        for seed in (0, 1):
            experiment.run(
                experiment.configure(mini, attn, seed, experiment.RunSettings(SHORT, "one", CPU)), mini, folder
            )
    return folder


@pytest.fixture
def board(runs, tmp_path):
    code, said, error = leaderboard("--runs", runs, "--save", tmp_path / "boards" / "mini")
    assert (code, said) == (0, str(tmp_path / "boards" / "mini")), error
    return tmp_path / "boards" / "mini"


def test_board_is_saved_with_its_records(board, runs):
    assert {path.name for path in board.iterdir()} == {"board.json", "board.csv", "board.md", "runs"}
    assert {path.name for path in (board / "runs").iterdir()} == {path.name for path in runs.glob("mini-*")}
    for run in (board / "runs").iterdir():
        assert {path.name for path in run.iterdir()} == {
            *("config.json", "environment.json", "history.jsonl", "result.json", "answers.safetensors.xz", "pictures")
        }
        small = {path.name: path for path in (run / "pictures").iterdir()}
        assert set(small) == {"images.webp", "maps.webp", "targets.png", "pictures.json"}
        assert sum(path.stat().st_size for path in small.values()) <= picture_files.SMALL_BYTES
        words = runs / run.name / "pictures" / "pictures.json"
        assert json.loads(small["pictures.json"].read_text()) == json.loads(words.read_text())
        packed, plain = run / "answers.safetensors.xz", runs / run.name / "answers.safetensors"
        assert lzma.decompress(packed.read_bytes()) == plain.read_bytes()
        assert packed.stat().st_size < plain.stat().st_size
    code, said, error = leaderboard("--check", board.parent)
    assert (code, said) == (0, str(board)), error
    assert "| pan" in (board / "board.md").read_text()
    assert "bench run --attn pan" in (board / "board.md").read_text()


def test_folder_of_a_saved_board_can_replace_its_runs(board, runs, tmp_path):
    assert records.resolve_runs_folder(board) == records.resolve_runs_folder(board / "runs") == board / "runs"
    code, _, error = leaderboard("--runs", board.parent)
    assert code == 2
    assert f"use --runs {board}" in error
    assert leaderboard("--runs", board)[:2] == leaderboard("--runs", board / "runs")[:2]
    assert leaderboard("--runs", board, "--save", tmp_path / "copy")[0] == 0
    copied = {path.relative_to(tmp_path / "copy"): path.read_bytes() for path in (tmp_path / "copy").rglob("*.*")}
    assert copied == {path.relative_to(board): path.read_bytes() for path in board.rglob("*.*")}


def test_saved_run_with_weights_can_give_initial_weights(runs, tmp_path):
    code, said, error = leaderboard("--runs", runs, "--save", tmp_path / "board", "--weights")
    assert (code, said) == (0, str(tmp_path / "board")), error
    for run in (tmp_path / "board" / "runs").iterdir():
        assert (run / "weights.safetensors").read_bytes() == (runs / run.name / "weights.safetensors").read_bytes()
    (run,) = (tmp_path / "board" / "runs").glob("mini-pan-s0-*")
    config, model = load_model(run)
    assert config.attn == "pan"
    for name, value in load_model(runs / run.name)[1].state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    assert leaderboard("--runs", runs, "--weights")[0] == 2


def test_boards_in_results_follow_from_their_records():
    code, said, error = leaderboard("--check", TOP / "results")
    assert code == 0, error
    assert said.splitlines() == sorted(str(path.parent) for path in (TOP / "results").rglob("board.csv"))


@pytest.mark.parametrize(
    "harm", [lambda d: d[:-20], lambda d: d + b"x", lambda d: b"", lambda d: d[:40] + bytes([d[40] ^ 1]) + d[41:]]
)
def test_damaged_packed_answers_are_named_and_left_out(board, harm, caplog):
    path = next((board / "runs").glob("mini-pan-s0-*")) / "answers.safetensors.xz"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DataProblemError, match=r"answers\.safetensors\.xz: not a whole \.xz file"):
        records.read_answers(path.parent)
    with pytest.raises(MismatchProblemError, match=r"board\.csv: row"):
        snapshot.rederive_boards(board)
    assert "answers.safetensors.xz: not a whole .xz file" in caplog.text


def test_packed_answers_larger_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(packing, "MAX_UNPACKED_BYTES", 1000)
    assert packing.unpack(packing.pack(bytes(1000)), "answers") == bytes(1000)
    with pytest.raises(DataProblemError, match="answers: holds more than 1,000 bytes"):
        packing.unpack(packing.pack(bytes(1001)), "answers")


def test_a_saved_board_has_intervals_and_differences(board):
    rows = {row["attn"]: row for row in from_csv((board / "board.csv").read_text()).to_dict("records")}
    assert {row["seeds"] for row in rows.values()} == {2}
    for row in rows.values():
        assert row["accuracy_lo"] < row["accuracy"] < row["accuracy_hi"]
        assert row["mask_correctness_lo"] <= row["mask_correctness"] <= row["mask_correctness_hi"]
        assert 0 < row["pr_area"] < 1
    assert rows["pan"]["baseline"] == "san"
    assert rows["pan"]["difference"] == pytest.approx(rows["pan"]["accuracy"] - rows["san"]["accuracy"])
    assert rows["pan"]["difference_lo"] <= rows["pan"]["difference"] <= rows["pan"]["difference_hi"]
    assert rows["pan"]["p_value"] >= 0.5  # with two seeds
    assert "fewer than 5 seeds" in (board / "board.md").read_text()
    environment = json.loads(next((board / "runs").glob("*/environment.json")).read_text())
    threads = environment["threads"]
    hardware = f"{environment['processor']}, {threads} thread{'s' if threads > 1 else ''}"
    assert {row["hardware"] for row in rows.values()} == {hardware}


def test_a_saved_board_contains_no_paths_of_its_machine(runs, board, tmp_path):
    config = next(runs.glob("mini-pan-*")) / "config.json"
    content = json.loads(config.read_text())
    mine = tmp_path / "mine"
    shutil.copytree(runs, mine)
    changed = {**content, "attn_files": {"own.py": str(tmp_path / "own.py")}, "init_run": str(tmp_path / "mref-pan")}
    (mine / config.parent.name / "config.json").write_text(json.dumps(changed))
    snapshot.save_snapshot(mine, board)
    for path in board.rglob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes(), path
    kept = json.loads((board / "runs" / config.parent.name / "config.json").read_text())
    content.pop("data_folder")
    assert kept == {**content, "init_run": "mref-pan"}


def change_csv(board, old, new):
    text = (board / "board.csv").read_text()
    assert old in text
    (board / "board.csv").write_text(text.replace(old, new, 1))


def change_result(board, **changes):
    path = next((board / "runs").glob("mini-san-*")) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def turn_answers(board):
    path = next((board / "runs").glob("mini-pan-*"))
    answers = records.read_answers(path)
    answers["right"] = 1 - answers["right"]
    import torch

    records.write_answers(path, {name: torch.tensor(array) for name, array in answers.items()})


@pytest.mark.parametrize(
    ("harm", "column"),
    [
        (lambda b: change_csv(b, "mini,san,2", "mini,san,3"), "seeds: 3"),
        (lambda b: change_csv(b, "mini,pan,2", "mini,pan-ctx,2"), "attn: pan-ctx"),
        (lambda b: change_result(b, accuracy=0.99), "accuracy"),
        (lambda b: change_result(b, status="failed"), "seeds"),
        (turn_answers, "accuracy_lo"),
        (lambda b: shutil.rmtree(next((b / "runs").glob("mini-pan-*"))), "seeds: 2"),
        (lambda b: change_csv(b, ",tpr,", ",tqr,"), "(only one of them has tpr, tqr); save it again"),
    ],
)
def test_number_that_contradicts_the_records_is_named(board, harm, column):
    harm(board)
    code, said, error = leaderboard("--check", board)
    assert (code, said) == (4, ""), error
    assert column in error
    assert "board.csv" in error


def test_results_that_contradict_their_answers_are_detected(board):
    """Board and results are changed in the same way."""
    for run in (board / "runs").glob("mini-san-*"):
        forged = json.loads((run / "result.json").read_text()) | {"accuracy": 0.99}
        (run / "result.json").write_text(json.dumps(forged))
    csv = from_csv((board / "board.csv").read_text())
    csv.loc[csv["attn"] == "san", "accuracy"] = 0.99
    (board / "board.csv").write_text(to_csv(csv))
    done = CliRunner().invoke(cli.bench, ["leaderboard", "--check", str(board)])
    assert done.exit_code == 4
    assert "result.json: accuracy does not follow from its answers" in done.stderr


def test_the_text_of_a_saved_board_is_checked(board):
    path = board / "board.md"
    path.write_text(path.read_text().replace("--epochs 1", "--epochs 9", 1))
    code, said, error = leaderboard("--check", board)
    assert (code, said) == (4, "")
    assert "board.md: differs from board.csv" in error


def test_report_of_a_saved_board_shows_each_command_on_screen_and_in_print(board, tmp_path):
    pytest.importorskip("jinja2")
    page = tmp_path / "report.html"
    done = CliRunner().invoke(cli.bench, ["report", "--runs", str(board / "runs"), "-o", str(page)])
    assert done.exit_code == 0, done.stderr
    assert page.read_text().count("bench run --attn pan --data") == 2


def test_leaderboard_check_with_output_is_a_usage_error(board, tmp_path):
    assert leaderboard("--check", board, "-o", tmp_path / "board.csv")[0] == 2
    assert not (tmp_path / "board.csv").exists()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda b: (b / "board.json").write_text("{"), "not a board"),
        (lambda b: (b / "board.json").write_text("{}"), "not a board"),
        (lambda b: (b / "board.csv").write_text(""), "not a board"),
        (lambda b: (b / "board.csv").unlink(), "not a board"),
    ],
)
def test_damaged_board_file_is_named(board, harm, message):
    harm(board)
    code, said, error = leaderboard("--check", board)
    assert (code, said) == (3, "")
    assert message in error


def test_folder_with_other_files_is_not_overwritten(runs, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert leaderboard("--runs", runs, "--save", tmp_path)[0] == 2
    assert leaderboard("--runs", tmp_path / "none", "--save", tmp_path / "new")[0] == 2
    assert not (tmp_path / "new").exists()
    assert leaderboard("--check", tmp_path)[0] == 2


def test_a_board_can_be_saved_from_its_own_records(board):
    before = {path: path.read_bytes() for path in board.rglob("*.*") if path.is_file()}
    code, _, error = leaderboard("--runs", board / "runs", "--save", board)
    assert code == 0, error
    assert {path: path.read_bytes() for path in board.rglob("*.*") if path.is_file()} == before


def test_saving_again_replaces_the_board(runs, board):
    before = {path: path.read_bytes() for path in board.rglob("*.*") if path.is_file()}
    (board / "runs" / "old").mkdir()
    (board / "runs" / "old" / "result.json").write_text("{}")
    snapshot.save_snapshot(runs, board)
    assert {path: path.read_bytes() for path in board.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("text", [None, "[]", "{", '{"attn": "san", "lr": NaN}'])
def test_run_without_a_configuration_is_saved_without_a_command(text, runs, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(runs, mine)
    for run in mine.glob("mini-san-*"):
        (run / "config.json").unlink() if text is None else (run / "config.json").write_text(text)
    snapshot.save_snapshot(mine, tmp_path / "board")
    assert snapshot.rederive_boards(tmp_path / "board") == [str(tmp_path / "board")]
    rows = from_csv((tmp_path / "board" / "board.csv").read_text()).set_index("attn")
    assert rows["seeds"].tolist() == [2, 2]
    assert rows["command"].isna().to_dict() == {"san": True, "pan": False}


def test_check_accepts_text_with_line_breaks(runs, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(runs, mine)
    for run in mine.glob("mini-san-*"):
        result = json.loads((run / "result.json").read_text())
        (run / "result.json").write_text(json.dumps(result | {"note": "a\r\nb\rc"}))
    snapshot.save_snapshot(mine, tmp_path / "board")
    assert snapshot.rederive_boards(tmp_path / "board") == [str(tmp_path / "board")]


def test_text_in_a_number_column_of_a_saved_board_is_named(board):
    path = board / "board.csv"
    csv = from_csv(path.read_text())
    path.write_text(to_csv(csv.assign(accuracy=["much", "more"])))
    code, said, error = leaderboard("--check", board)
    assert (code, said) == (4, "")
    assert "row 1, accuracy: much" in error
