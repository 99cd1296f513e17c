"""Runs with `--network`: names, records, boards, resuming, timing and pictures of networks other than the default."""

import json

import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import FIRST_RECIPES, RunConfig
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.recipe_text import describe_training
from bench.networks import resolve
from bench.profiling import run_cost
from bench.runs import experiment, records
from bench.runs.network_loading import load_model
from mnistref.variants import get_variant
from tests.bench.bench_command import bench

COMPUTING = ComputeConfig(torch.device("cpu"))
SMALL = ["--network", "resnet18", "--width", 2]
TRAINING = ["--epochs", "1", "--batch", "20", "--threads", "1", "--device", "cpu", "--no-picture"]
USUAL = "fast,batch=20,epochs=1,questions=all"
LABEL = f"{USUAL},network=resnet18,width=2"


@pytest.fixture(scope="module")
def data(make):
    """Return a data set of two steps."""
    return make("mini", sizes={"train": 40, "val": 10, "test": 12})


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Return a run of a narrow ResNet-18, next to a run of the default network."""
    runs = tmp_path_factory.mktemp("networks")
    folders = []
    for how in (SMALL, []):
        code, run, error = bench("run", "--attn", "self", "--data", data, "--runs", runs, *how, *TRAINING)
        assert code == 0, error
        folders.append(runs / run)
    return folders


def configured(folder, network: str, width: int | None = None) -> RunConfig:
    settings = experiment.RunSettings(FIRST_RECIPES["fast"], "one", COMPUTING)
    return experiment.configure(folder, resolve("self", width, network), 0, settings)


def test_only_another_network_changes_the_configuration(data):
    usual, other = configured(data, "attribute"), configured(data, "resnet18")
    assert not {"network", "width"} & usual.as_dict().keys()  # runs of earlier versions keep their names
    assert (other.as_dict()["network"], other.as_dict()["width"]) == ("resnet18", 64)
    assert RunConfig.from_dict(other.as_dict()) == other
    assert other.run_id.startswith("mini-resnet18-self-s0-")
    assert usual.run_id.startswith("mini-self-s0-")
    assert (other.training, usual.training) == ("fast,network=resnet18,width=64", "fast")
    assert configured(data, "resnet18", 32).training == "fast,network=resnet18,width=32"
    assert describe_training(other.training).endswith("one question each, network resnet18, 64 channels")
    with pytest.raises(ValueError, match="network: 'x y'"):
        RunConfig(**{**vars(usual), "network": "x y"}).require_valid()


def test_a_run_is_recorded_and_loaded(trained):
    config, model = load_model(trained[0])
    assert (config.network, config.width) == ("resnet18", 2)
    assert model.layer4[1].conv2.weight.shape == (16, 16, 3, 3)
    result = json.loads((trained[0] / records.RESULT).read_text())
    assert result["recipe"] == LABEL
    assert result["relative_runtime"] > 0
    assert result["mask_correctness"] is not None


def test_rows_of_different_networks_are_not_compared(trained):
    results = [result | {"variant": "mini"} for result in records.read_results(trained[0].parent)]
    board = build_board(results, baseline="self")
    assert set(board["recipe"]) == {LABEL, USUAL}
    assert board["difference"].isna().all()
    assert board["rank"].tolist() == [1, 1]
    (command,) = board[board["recipe"] == LABEL]["command"]
    assert "--attn self --network resnet18 --width 2 " in command


def test_published_values_and_claims_are_of_the_papers_network(trained):
    from bench.leaderboard.claims import evaluate_claims
    from bench.leaderboard.published import find_published, is_papers_network

    assert find_published("mbg", "san") is not None
    assert [is_papers_network(label) for label in ("fast", LABEL, f"fast,init=(x,{LABEL})")] == [True, False, True]
    results = [result | {"variant": "mbg", "attn": "san"} for result in records.read_results(trained[0].parent)]
    board = build_board(results).set_index("recipe")["published_accuracy"]
    assert board[[LABEL]].isna().all()
    assert board[[USUAL]].notna().all()
    assert not [claim for claim in evaluate_claims(results) if "network=" in str(claim)]


def test_the_record_builds_the_same_network(trained, data, tmp_path):
    given = ["--config", trained[0] / records.CONFIG, "--data", data, "--threads", 1, "--runs", tmp_path]
    code, run, error = bench("run", *given)
    assert code == 0, error
    assert (tmp_path / run / records.WEIGHTS).read_bytes() == (trained[0] / records.WEIGHTS).read_bytes()
    code, _, error = bench("run", *given, "--network", "vgg")
    assert (code, error) == (2, f"error: --network: --config {given[1]} already sets it; omit one of them")


def test_initial_weights_must_be_of_the_same_network(trained, data, tmp_path):
    given = ["run", "--attn", "self", "--data", data, "--runs", tmp_path, "--init", trained[0], *TRAINING]
    code, _, error = bench(*given)
    assert code == 2
    assert error.endswith("this is a run of the network resnet18; its weights do not fit attribute")


def test_relative_runtime_uses_san_in_the_same_network(trained, monkeypatch):
    timed = {}

    def measure(models, *how, on_round):
        timed.update(models)
        raise InterruptedError

    monkeypatch.setattr(run_cost.timing, "time_networks", measure)
    config, model = load_model(trained[0])
    with pytest.raises(InterruptedError):
        run_cost.measure_cost(config, model, get_variant("mini"), COMPUTING, 2)
    assert timed["self"] is model
    assert timed["san"].layout == model.layout


def test_saliency_and_pictures_work(trained, tmp_path):
    pytest.importorskip("captum")
    code, _, error = bench("saliency", trained[0], "--map", "attention,gradcam", "--images", 4)
    assert code == 0, error
    for more in ([], ["--map", "gradcam"], ["--map", "gradcam", trained[1]]):
        code, _, error = bench("show", trained[0], "--images", 1, "-o", tmp_path / "maps.png", *more)
        assert code == 0, error
    for command in ("saliency", "show"):
        code, _, error = bench(command, trained[0], "--map", "cam")
        assert code == 2
        assert "self has no class activation map, because it does not end in average pooling and one linear" in error
    code, _, error = bench("show", trained[0], "--map", "cam", "--samples", 2)
    assert (code, error) == (2, "error: --samples and --sigma-scale draw the network's own maps; omit them, or --map")


def test_unknown_networks_and_too_long_lists_are_refused_before_a_data_set_is_made(tmp_path):
    for command, seeds in (("run", []), ("sweep", ["--seeds", 1])):
        given = [command, "--attn", "pan", "--variant", "mini", "--root", tmp_path, *seeds]
        code, _, error = bench(*given, "--network", "resnet")
        assert code == 2
        assert "unknown network 'resnet': did you mean 'resnet18'" in error
    code, _, error = bench(
        "run", "--attn", "se,pan,se,pan", "--variant", "mini", "--root", tmp_path, "--network", "vgg-att"
    )
    assert code == 2
    assert "4 mechanisms for 3 slots" in error
    assert not (tmp_path / "datasets").exists()


def test_bench_runtime_refuses_unknown_networks():
    code, _, error = bench("runtime", "--network", "vgg16")
    assert code == 2
    assert "unknown network 'vgg16': did you mean 'vgg'" in error
