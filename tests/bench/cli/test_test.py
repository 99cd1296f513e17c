"""`bench test` on a short run: pairs, intervals, the record, the curve, boards and refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest

import bench
import cli
from bench.leaderboard.robustness_table import OWN, build_robustness_table
from bench.leaderboard.statistics import bootstrap_interval
from bench.runs import experiment, robustness_record
from bench.training.progress import ProgressOptions
from mnistref.dataset import read_manifest
from tests.bench.bench_command import bench as call_bench
from tests.bench.runs.helpers import SHORT, configured
from tests.commands import call

SIZES = {"train": 400, "val": 100, "test": 120}


@pytest.fixture(scope="module")
def others(make):
    """Data sets that differ from `mini` in one factor."""
    return {
        "small": make("mini", sizes=SIZES, scales=(0.4, 0.6)),
        "one scale": make("mini", sizes=SIZES, scales=(0.5, 0.5)),
        "two digits": make("mini", sizes=SIZES, digits_per_image=(2, 2)),
        "canvas": make("mini", sizes={"train": 2, "val": 2, "test": 30}, canvas=60),
        "seed": make("mini", sizes={"train": 2, "val": 2, "test": 30}, seed=1),
    }


@pytest.fixture(scope="module")
def tested(trained, mini, others, tmp_path_factory):
    """The rows of a test on all of them, and the figure and the record of it."""
    folder = tmp_path_factory.mktemp("robustness")
    plot = folder / "curve.svg"
    options = ["--root", mini.parents[1], "--device", "cpu", "--json", "--out", folder, "--plot", plot]
    code, out, error = call_bench("test", trained, "--data", *others.values(), *options)
    assert code == 0, error
    return json.loads(out), folder, plot


def test_each_set_has_measures_with_intervals_and_its_difference(tested, trained, others):
    rows, folder, plot = tested
    assert [row["dataset"] for row in rows[1:]] == [path.name for path in others.values()]
    assert [row["differs"] for row in rows] == [
        "",
        "scale 0.4–0.6",
        "scale 0.5",
        "digits per image 2",
        "canvas, px 60",
        "seed 1",
    ]
    assert [row["pairs"] for row in rows] == [0, 120, 120, 0, 30, 0]
    result = json.loads((trained / "result.json").read_text())
    assert (rows[0]["split"], rows[0]["questions"]) == (OWN, 120)
    for name in ("accuracy", "mask_correctness", "pointing"):
        assert rows[0][name] == pytest.approx(result[name], abs=1e-3)
        assert rows[0][f"{name}_difference"] is None
        for row in rows:
            assert row[f"{name}_lo"] <= row[name] <= row[f"{name}_hi"]
    text = plot.read_text()
    assert all(word in text for word in ("digits per image 2", "own test set", "mask correctness"))
    assert (folder / "robustness.json").is_file()
    assert not (trained / "robustness.json").exists()


def test_measures_are_those_of_bench_evaluate(tested, trained, others):
    rows, _, _ = tested
    model = bench.load_run(trained).model
    for row, folder in zip(rows[1:], others.values(), strict=True):
        measures = bench.evaluate(model, folder).measures
        for name in ("accuracy", "mask_correctness", "pointing", "mask_correctness_uniform"):
            assert row[name] == pytest.approx(measures[name], abs=1e-3), name


def test_a_paired_difference_is_that_of_the_same_questions(tested, trained, others):
    rows, folder, _ = tested
    record = robustness_record.RECORD.read(folder, trained)
    own, other = bench.load_run(trained).answers["correct"].to_numpy(float), record.others[0]["right"]
    correct = bench.evaluate(bench.load_run(trained).model, others["small"]).answers["correct"].to_numpy(float)
    np.testing.assert_array_equal(other, correct)
    differences = [b - a for a, b in zip(own, correct, strict=True)]
    low, high = bootstrap_interval(np.array([differences]), paired=True)
    assert rows[1]["accuracy_difference"] == pytest.approx(sum(differences) / 120)
    assert (rows[1]["accuracy_difference_lo"], rows[1]["accuracy_difference_hi"]) == pytest.approx((low, high))
    shorter = record.others[3]["right"] - own[:30]  # the first 30 of 120 questions
    assert rows[4]["accuracy_difference"] == pytest.approx(shorter.mean())


def test_a_later_test_keeps_the_earlier_ones(trained, mini, others, tmp_path):
    options = ["--root", mini.parents[1], "--device", "cpu", "--out", tmp_path]
    assert call_bench("test", trained, "--data", others["small"].name, *options, "--images", 20)[0] == 0
    code, out, _ = call_bench("test", trained, "--data", read_manifest(others["seed"]).spec_id, *options)
    assert code == 0
    assert "seed 1" in out
    assert "0.4–0.6" not in out
    code, out, _ = call_bench("test", trained, "--data", mini, "--split", "val", *options)
    assert code == 0
    record = robustness_record.RECORD.read(tmp_path, trained)
    assert [(one["split"], one["questions"], one["pairs"]) for one in record.settings["sets"]] == [
        ("test", 20, 20),
        ("test", 30, 0),
        ("val", 100, 0),
    ]
    assert len(build_robustness_table([("run", record)])) == 4


def test_a_variant_is_generated_with_the_seed_and_sizes_of_the_run(trained, mini, tmp_path, monkeypatch):
    wanted = []
    monkeypatch.setattr("bench.runs.other_sets.generate", lambda request: wanted.append(request) or mini)
    options = ["--root", mini.parents[1], "--device", "cpu", "--out", tmp_path, "--images", 3]
    assert call_bench("test", trained, "--data", "mref", *options)[0] == 0
    assert (wanted[0].variant, wanted[0].seed, wanted[0].sizes, wanted[0].digits) == ("mref", 0, SIZES, "mnist5k")


def test_a_board_stores_the_record_and_checks_its_numbers(trained, mini, others, tmp_path):
    options = ["--root", mini.parents[1], "--device", "cpu"]
    assert call_bench("test", trained, "--data", others["small"], others["seed"], *options)[0] == 0
    board = tmp_path / "board"
    assert call_bench("leaderboard", "--runs", trained.parent, "--save", board)[0] == 0
    assert (board / "runs" / trained.name / "robustness.safetensors.xz").is_file()
    assert "# Robustness" in (board / "robustness.md").read_text()
    assert call_bench("leaderboard", "--check", board)[0] == 0
    table = board / "robustness.csv"
    table.write_text(table.read_text().replace(",30,0,", ",30,1,"))
    code, _, error = call_bench("leaderboard", "--check", board)
    assert code == 4
    assert "robustness.csv: row 3, pairs: 1, but its records give 0" in error


def test_a_network_for_another_canvas_is_built_again(make, tmp_path):
    """From 200 px on, a network has five stages; the canvas is that of the data set, not of the variant."""
    large = make("mini", sizes={"train": 8, "val": 4, "test": 4}, canvas=200)
    config = configured(large, "san", replace(SHORT, batch=4, epochs=1))
    run = experiment.run(
        config, large, tmp_path, options=experiment.ExecutionOptions(progress=ProgressOptions(timing=False))
    )
    loaded = bench.load_run(run)
    assert len(loaded.model.stages) == 5
    assert bench.evaluate(loaded.model, large).measures["accuracy"] == loaded.result["accuracy"]
    assert "its law is not the papers'" in loaded.result["note"]
    out = call(cli.bench, "leaderboard", "--runs", tmp_path).stdout
    assert "canvas 200 px instead of 48 px" in out
    tiny = make("mini", sizes={"train": 2, "val": 2, "test": 3}, scales=(0.3, 0.4), digits_per_image=(1, 1), canvas=20)
    error = call(cli.bench, "test", run, "--data", tiny, "--device", "cpu", code=2).stderr
    assert "images of 20 px; the network halves them 5 times and needs 32 px or more" in error


def test_other_tasks_and_missing_sets_are_refused_in_one_line(trained, make, mini):
    inverse = make("miniinv", sizes={"train": 2, "val": 2, "test": 3})
    for arguments, message in (
        (["--data", inverse], "5 queries and 10 classes, but this network, trained on mini, has 10 and 5"),
        (["--data", "miniinv"], "miniinv: another task than that of mini"),
        (["--data", "mbgg"], "no variant; did you mean 'mbg'"),
        (["--data", mini, "--plot", "curve.txt"], "give a name that ends in"),
        ([], "--data"),
    ):
        done = call(cli.bench, "test", trained, *arguments, "--device", "cpu", code=2)
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert message in done.stderr
    assert "no run here" in call(cli.bench, "test", mini, "--data", mini, code=2).stderr
