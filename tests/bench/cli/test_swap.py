"""`bench swap` on short runs."""

import json

import pandas as pd
import pytest
import torch

from bench import create_model, load_run, swap
from bench.runs import experiment
from mnistref import MnistRef
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


def test_python_gives_the_numbers_of_the_command(trained, mini):
    code, out, _ = bench("swap", trained, "--data", mini, "--images", 10, "--device", "cpu", "--json")
    assert code == 0
    expected = pd.DataFrame(json.loads(out)).drop(columns="run")
    found = swap(load_run(trained).model, MnistRef(mini, split="test")[:10])
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_the_second_question_is_about_the_image_of_the_first(mini):
    """Also in a slice that does not begin with the first image: the map of a digit's ink follows the question."""
    data = MnistRef(mini, split="test")[5:12]
    every = MnistRef(mini, split="test", queries="all")
    ink = {}
    for k in range(len(every)):
        if every.triples.image[k] in data.triples.image:
            pixels = every[k]["image"].float() / 255
            ink[round(float(pixels.double().sum()), 3), int(every.triples.query[k])] = every[k]["mask"].float()

    def network(images, query):
        keys = zip(images.double().sum((1, 2, 3)).tolist(), query.tolist(), strict=True)
        return torch.zeros(len(images), 5), torch.stack([ink[round(total, 3), asked] for total, asked in keys])

    (row,) = swap(network, data).to_dict("records")
    assert row["images"] > 1
    assert (row["map1_on_digit1"], row["map2_on_digit2"], row["moved"]) == pytest.approx((1, 1, 1))
    assert row["map1_on_digit2"] == row["map2_on_digit1"] == 0


def test_python_refuses_a_model_without_a_map(mini):
    with pytest.raises(ValueError, match="returns no map"):
        swap(create_model("none", "mini"), MnistRef(mini, split="test")[:8])


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
