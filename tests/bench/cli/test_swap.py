"""`bench swap` on short runs."""

import json

import pytest

from bench.runs import experiment
from tests.bench.bench_command import bench
from tests.bench.runs.helpers import configured


def test_swap_writes_the_record_and_a_verdict(trained, mini):
    code, out, _ = bench("swap", trained, "--data", mini, "--images", 10, "--device", "cpu", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert 0 < row["images"] <= 10
    assert row["moved"] == pytest.approx(row["map2_on_digit2"] - row["map1_on_digit2"], abs=1e-6)
    assert row["verdict"].startswith("the map depends on the question")
    assert row["maps_changed"] == 1.0
    assert (trained / "swap.safetensors").is_file()
    code, out, _ = bench("swap", trained, "--data", mini, "--images", 10, "--device", "cpu")
    assert code == 0
    assert out.splitlines()[-1].startswith("the map depends on the question")


def test_swap_of_a_network_without_a_map_is_a_usage_error(mini, tmp_path):
    run = experiment.run(configured(mini, "none"), mini, tmp_path)
    code, out, error = bench("swap", run, "--data", mini, "--images", 5, "--device", "cpu")
    assert (code, out) == (2, "")
    assert "none has no map" in error
    assert not (run / "swap.json").exists()


def test_a_run_of_ltpa_pc_has_maps_that_do_not_depend_on_the_question(mini, tmp_path):
    run = experiment.run(configured(mini, "ltpa-pc:linear=true"), mini, tmp_path)
    code, out, _ = bench("swap", run, "--data", mini, "--images", 8, "--device", "cpu", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert row["maximal_change"] == 0
    assert row["verdict"] == "the map does not depend on the question"
    assert row["total_variation"] == 0
