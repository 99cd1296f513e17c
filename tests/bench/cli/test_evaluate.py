"""The command `bench evaluate`: what it prints, and wrong arguments."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from mnistref.dataset import read_split
from tests.bench.bench_command import bench


def test_missing_model_file_is_a_usage_error(mini, tmp_path):
    code, _, said = bench("evaluate", tmp_path / "no.py:make_model", "--data", mini)
    assert code == 2
    assert "no.py: No such file" in said


@pytest.fixture
def function(tmp_path) -> str:
    """Return the name of a function that answers 2 whatever the question is."""
    (tmp_path / "own.py").write_text(
        "import torch\ndef make():\n    return lambda images, query: torch.eye(5)[torch.full((len(images),), 2)]\n"
    )
    return f"{tmp_path / 'own.py'}:make"


def test_evaluate_prints_the_folder_of_the_record(function, mini, tmp_path):
    done = CliRunner().invoke(cli.bench, ["evaluate", function, "--data", str(mini), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.stderr
    result = json.loads((Path(done.stdout.strip()) / "result.json").read_text())
    labels = read_split(mini, "test", "label")["label"]
    assert result["accuracy"] == pytest.approx((labels == 2).mean())
    assert "bench leaderboard" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "--seed"),
        (["--queries", "some"], "--queries"),
        (["--device", "tpu"], "--device"),
        (["--batch", "x"], "--batch"),
        (["--name", "a b,c"], "--name"),
    ],
)
def test_wrong_options_of_evaluate_are_usage_errors(options, message, function, mini, tmp_path):
    code, out, said = bench("evaluate", function, "--data", mini, "--runs", tmp_path / "runs", *options)
    assert (code, out) == (2, "")
    assert message in said
    assert not (tmp_path / "runs").exists()
