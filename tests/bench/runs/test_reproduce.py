"""`bench run --config FILE` repeats a run from its record."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cli
from bench.cli.run import ALLOWED_WITH_CONFIG, run
from bench.compute import ComputeConfig
from bench.runs import records
from tests.bench.bench_command import TRAINING, bench
from tests.helpers import TOP


def learned(run) -> tuple:
    result = json.loads((run / records.RESULT).read_text())
    return (run / records.WEIGHTS).read_bytes(), result["accuracy"], result["recipe"]


@pytest.fixture(scope="session")
def made(mini, tmp_path_factory):
    """Return a run, and a run that starts from its weights."""
    runs = tmp_path_factory.mktemp("runs")
    code, first, error = bench("run", "--attn", "pan", "--data", mini, "--runs", runs, "--seed", "3", *TRAINING)
    assert code == 0, error
    code, second, error = bench(
        *("run", "--attn", "pan", "--data", mini, "--runs", runs, "--fade", "0.5", "--init", first, *TRAINING)
    )
    assert code == 0, error
    return [runs / first, runs / second]


@pytest.mark.parametrize("which", [0, 1])
def test_a_reproduced_run_has_the_same_bytes(which, made, root, tmp_path):
    code, again, error = bench("run", "--config", made[which] / "config.json", "--root", root, "--runs", tmp_path)
    assert code == 0, error
    assert learned(tmp_path / again) == learned(made[which])
    assert (tmp_path / again).name == made[which].name
    assert json.loads((tmp_path / again / "config.json").read_text()) == json.loads(
        (made[which] / "config.json").read_text()
    )


def test_missing_data_set_is_generated(made, mini, tmp_path):
    code, again, error = bench("run", "--config", made[0] / "config.json", "--root", tmp_path)
    assert code == 0, error
    assert learned(tmp_path / again) == learned(made[0])
    assert (tmp_path / "datasets" / mini.name / "SHA256SUMS").read_bytes() == (mini / "SHA256SUMS").read_bytes()


def test_user_folder_of_digits_must_be_given_again(idx_folder, tmp_path):
    sizes = ["--train", "60", "--val", "20", "--test", "30", "--digits", idx_folder]
    done = CliRunner().invoke(
        cli.mnistref, [*map(str, ["generate", "--variant", "mini", "--root", tmp_path / "a", *sizes])]
    )
    code, run, error = bench(
        "run", "--attn", "none", "--data", done.stdout.strip(), "--root", tmp_path / "a", *TRAINING
    )
    assert code == 0, error
    again = ["run", "--config", tmp_path / "a" / run / "config.json", "--root", tmp_path / "b"]
    code, _, error = bench(*again)
    assert (code, "give --digits DIR" in error) == (2, True), error
    code, other, error = bench(*again, "--digits", idx_folder)
    assert code == 0, error
    assert learned(tmp_path / "b" / other) == learned(tmp_path / "a" / run)
    code, _, error = bench(*again[:-1], tmp_path / "c", "--digits", "mnist5k")
    assert (code, "the run was made with" in error) == (4, True), error


@pytest.mark.long_form
def test_data_sets_with_duplicate_photos_or_unusual_digits_are_generated_again(idx_folder, tmp_path):
    """The first data set has photos that are left out today. The record of the second allows unusual digits."""
    for name, change in (("photos", None), ("digits", 255)):
        (tmp_path / name).mkdir()
        if change:
            for file in idx_folder.iterdir():
                data = bytearray(file.read_bytes())
                if "images" in file.name:
                    data[16:] = bytes(change - value for value in data[16:])
                (tmp_path / name / file.name).write_bytes(data)
    rng = np.random.default_rng(0)
    for k in range(4):
        photo = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((240, 180))
        photo.save(tmp_path / "photos" / f"{k}.png")
    photo.resize((120, 90)).save(tmp_path / "photos" / "small.png")
    sizes = ["--train", 60, "--val", 20, "--test", 30]
    sources = ["--digits", tmp_path / "digits", "--backgrounds", tmp_path / "photos"]
    more = ["--any-digits", "--keep-copies", "--root", tmp_path / "a", *sizes, *sources]
    done = CliRunner().invoke(cli.mnistref, [*map(str, ["generate", "--variant", "mbg", *more])])
    assert done.exit_code == 0, done.stderr
    code, run, error = bench(
        "run", "--attn", "none", "--data", done.stdout.strip(), "--root", tmp_path / "a", *TRAINING
    )
    assert code == 0, error
    again = ["run", "--config", tmp_path / "a" / run / "config.json", "--root", tmp_path / "b"]
    code, other, error = bench(*again, *sources)
    assert code == 0, error
    assert learned(tmp_path / "b" / other) == learned(tmp_path / "a" / run)
    (tmp_path / "photos" / "0.png").unlink()
    code, _, error = bench(*again[:-1], tmp_path / "c", *sources)
    assert (code, "the run was made with" in error) == (4, True), error


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--attn", "pan"], 2, "--attn: --config"),
        (["--epochs", "3"], 2, "--epochs: --config"),
        (["--seed", "0"], 2, "--seed: --config"),
        (["--precision", "fp32"], 2, "--precision: --config"),
    ],
)
def test_bench_run_config_refuses_other_options(more, code, message, made, tmp_path):
    found = bench("run", "--config", made[0] / "config.json", "--runs", tmp_path, *more)
    assert found[0] == code
    assert message in found[2]


def change(path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_recipe(path, **values):
    change(path, recipe={**json.loads(path.read_text())["recipe"], **values})


NONSENSE = [
    *({"batch": value} for value in (0, -3, 2.5, True)),
    *({"epochs": value} for value in (0, -1, None)),
    *({"lr": value} for value in ("x", 0, math.nan, 2)),
    *({"clip": 0}, {"clip": math.inf}, {"fade": 5}, {"fade": math.nan}, {"patience": 0}, {"name": []}),
]


@pytest.mark.parametrize(
    ("harm", "code", "message"),
    [
        (lambda p: p.unlink(), 2, "no file here"),
        (lambda p: p.write_text("{"), 3, "not JSON"),
        (lambda p: p.write_text("[]"), 2, "this JSON file is no configuration; --config takes config.json of a run"),
        (lambda p: p.write_text('{"a": 1}'), 2, "this JSON file is no configuration; --config takes"),
        (lambda p: p.write_text('{"attn": "pan"}'), 3, "damaged (recipe is missing); restore"),
        *((lambda p, c=c: change_recipe(p, **c), 3, f"damaged ({next(iter(c))}: ") for c in NONSENSE),
        (lambda p: change(p, seed=-5), 3, "damaged (seed: -5)"),
        (lambda p: change(p, seed="a"), 3, "damaged (seed: 'a')"),
        (lambda p: change(p, variant="mref"), 3, "damaged (dataset: 'mini-"),
        (lambda p: change(p, variant="../../x"), 3, "damaged (variant: '../../x')"),
        (lambda p: change(p, queries="foo"), 3, "damaged (queries: 'foo')"),
        (lambda p: change(p, online="no"), 3, "damaged (online: 'no')"),
        (lambda p: change(p, deterministic="false"), 3, "damaged (deterministic: 'false')"),
        (lambda p: change(p, device="cuda"), 2, "no CUDA device"),
        (lambda p: change(p, attn="none,none,none,none,pan"), 2, "slots"),
        (lambda p: change(p, data_request=None, dataset="mini-000000000000"), 2, "no data set here"),
        (lambda p: change(p, data_request={"size": 1}, dataset="mini-000000000000"), 2, "was made from a folder"),
        (lambda p: change(p, dataset="mini-000000000000"), 4, "the run was made with mini-000000000000"),
        (lambda p: change(p, init="mref,fast", init_weights="0" * 12), 2, "give --init"),
        (
            lambda p: change(p, init="mref,fast", init_weights="0" * 12, init_run="gone"),
            2,
            "gone, which does not exist",
        ),
    ],
)
def test_runs_that_cannot_be_reproduced_are_refused(harm, code, message, made, root, tmp_path):
    path = tmp_path / "config.json"
    shutil.copy(made[0] / "config.json", path)
    harm(path)
    found = bench("run", "--config", path, "--root", root, "--runs", tmp_path / "runs")
    assert (found[0], found[1]) == (code, ""), found
    assert message in found[2]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("result.json", 2, "this is result.json of a run; --config takes config.json of a run"),
        ("environment.json", 2, "this is environment.json of a run; --config takes"),
        ("checkpoint/state.json", 2, "this is state.json of a checkpoint; --config takes"),
        ("history.jsonl", 2, "this is history.jsonl of a run; --config takes"),
        ("weights.safetensors", 3, "not JSON"),
        ("", 2, "this is a folder; give "),
        ("dataset.json", 2, "this is dataset.json of a data set; --config takes"),
        ("board.json", 2, "this is board.json of a board; --config takes"),
        ("croissant.json", 2, "this is croissant.json of a data set; --config takes"),
        ("README.md", 3, "not JSON"),
    ],
)
def test_config_option_names_a_wrong_file(name, code, message, made, mini, root, tmp_path):
    folder = next(place for place in (made[0], mini, TOP / "results" / "fast") if (place / name).exists())
    found = bench("run", "--config", folder / name, "--root", root, "--runs", tmp_path / "runs")
    assert (found[0], found[1]) == (code, ""), found
    assert message in found[2]
    assert code == 2 or "--config takes config.json of a run" in found[2]
    assert not (tmp_path / "runs").exists()


def test_options_allowed_with_a_configuration_exist():
    options = {option.name for option in run.params}
    assert options > ALLOWED_WITH_CONFIG


def test_bench_run_needs_a_mechanism_or_a_configuration():
    assert bench("run")[::2] == (2, "error: give --attn NAME (see `bench list`), or --config FILE")


def test_deterministic_run_is_recorded_and_restores_the_setting(mini, made, tmp_path):
    """On a CPU, a deterministic run has the results of other runs and a different name."""
    given = ["--attn", "pan", "--data", mini, "--seed", "3", *TRAINING]
    code, run, error = bench("run", *given, "--runs", tmp_path, "--deterministic")
    assert code == 0, error
    assert learned(tmp_path / run) == (*learned(made[0])[:2], "fast,epochs=1,questions=all,deterministic")
    assert run != made[0].name
    assert json.loads((tmp_path / run / "config.json").read_text())["deterministic"] is True
    assert not torch.are_deterministic_algorithms_enabled()
    with ComputeConfig(torch.device("cpu"), deterministic=True).backend_flags():
        assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("option", ["--lr", "--fade", "--checkpoint-every"])
@pytest.mark.parametrize("command", [["run"], ["sweep", "--seeds", "1"]])
def test_an_option_that_is_nan_is_refused(option, command, mini, tmp_path):
    where = ["--data", mini] if command == ["run"] else ["--root", tmp_path]
    found = bench(*command, "--attn", "san", *where, option, "nan", "--runs", tmp_path / "runs")
    assert (found[0], found[1]) == (2, ""), found
    assert "is not a number" in found[2]
    assert not (tmp_path / "runs").exists()
