"""The command `bench evaluate`: what it prints, and wrong arguments."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
import mnistref
from bench.data.sets import read_manifest
from mnistref.dataset import read_split
from mnistref.variants import FIRST_STEPS_SIZES
from tests.bench.bench_command import bench
from tests.bench.tasks.conftest import write_photos


def test_missing_model_file_is_a_usage_error_before_a_data_set_is_made(tmp_path):
    code, _, said = bench("evaluate", tmp_path / "no.py:make_model", "--data", "mini", "--root", tmp_path / "root")
    assert code == 2
    assert "no.py: No such file" in said
    assert not (tmp_path / "root").exists()


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


def test_data_may_be_a_name_as_in_python(function, tmp_path, monkeypatch):
    """The data set of a variant is that of `mnistref.load`; it is generated, here a small one."""
    for split in FIRST_STEPS_SIZES:
        monkeypatch.setitem(FIRST_STEPS_SIZES, split, 30)
    done = CliRunner().invoke(cli.bench, ["evaluate", function, "--data", "mini", "--root", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    run = Path(done.stdout.strip())
    dataset = mnistref.load("mini", "test", root=tmp_path)
    assert run.parent == tmp_path / "runs"
    assert json.loads((run / "config.json").read_text())["dataset"] == dataset.folder.name
    assert json.loads((run / "result.json").read_text())["accuracy"] == (dataset.triples.label == 2).mean()


def test_data_may_be_a_task(function, tmp_path):
    photos = write_photos(tmp_path / "places")
    arguments = ["evaluate", function, "--data", f"folder:{photos}", "--root", str(tmp_path)]
    (tmp_path / "own.py").write_text("import torch\ndef make():\n    return lambda images: images.mean((2, 3))\n")
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 0, done.stderr
    assert json.loads((Path(done.stdout.strip()) / "result.json").read_text())["accuracy"] == 1
    assert [folder.name.split("-")[:2] for folder in (tmp_path / "datasets").iterdir()] == [["folder", "places"]]
    assert CliRunner().invoke(cli.bench, [*arguments, "--canvas", "40"]).exit_code == 0
    sides = {read_manifest(folder).variant.canvas for folder in (tmp_path / "datasets").iterdir()}
    assert sides == {40, 64}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mimi", "error: 'mimi': no variant, and no folder of a data set; did you mean 'mini'?"),
        ("./mini", "error: --data ./mini: there is no such folder; check the path"),
        ("folder:no/where", "where: no such folder; give a folder that has a folder for each class"),
    ],
)
def test_unknown_data_sets_are_usage_errors(given, message, function, tmp_path):
    code, _, said = bench("evaluate", function, "--data", given, "--root", tmp_path / "root")
    assert (code, (tmp_path / "root").exists()) == (2, False)
    assert message in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "--seed"),
        (["--queries", "some"], "--queries"),
        (["--device", "tpu"], "--device"),
        (["--batch", "x"], "--batch"),
        (["--name", "a b,c"], "--name"),
        (["--canvas", "48"], "is not the name of a task, so its images have a size"),
    ],
)
def test_wrong_options_of_evaluate_are_usage_errors(options, message, function, mini, tmp_path):
    code, out, said = bench("evaluate", function, "--data", mini, "--runs", tmp_path / "runs", *options)
    assert (code, out) == (2, "")
    assert message in said
    assert not (tmp_path / "runs").exists()
