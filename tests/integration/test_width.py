"""`bench run --width`: networks with another number of channels than the papers'."""

import json

import pytest
import torch

from bench.attention import known_mechanisms, resolve_network
from bench.compute import ComputeConfig
from bench.config import FIRST_RECIPES, MAX_WIDTH, RunConfig, training_stages
from bench.leaderboard.aggregate import build_board
from bench.model import build, create_model
from bench.profiling import run_cost
from bench.runs import experiment, records, sweep
from bench.runs.configure import RunSettings
from bench.runs.network_loading import load_config, load_model
from mnistref.variants import get_variant
from tests.bench.bench_command import TRAINING, bench

CPU = torch.device("cpu")
COMPUTING = ComputeConfig(CPU)


def configured(folder, width: int) -> RunConfig:
    return experiment.configure(
        folder, resolve_network("pan", width), 0, experiment.RunSettings(FIRST_RECIPES["fast"], "one", COMPUTING)
    )


@pytest.fixture(scope="module")
def narrow(mini, tmp_path_factory):
    """Return a run of 12 channels."""
    runs = tmp_path_factory.mktemp("narrow")
    code, run, error = bench("run", "--attn", "pan", "--data", mini, "--runs", runs, "--width", 12, *TRAINING)
    assert code == 0, error
    return runs / run


@pytest.mark.parametrize("width", [12, 40])
@pytest.mark.parametrize("attn", known_mechanisms())
def test_every_mechanism_takes_a_network_of_another_width(attn, width):
    model = create_model(attn, "mini", width=width)
    assert [(c.in_channels, c.out_channels) for c in model.stages] == [(3, width), *[(width, width)] * 3]
    logits = model(torch.rand(3, 3, 48, 48), torch.tensor([0, 4, 9])).logits
    logits.square().sum().backward()
    assert logits.shape == (3, 5)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.stages.parameters())


def test_default_width_is_the_papers_width():
    pair = [build("arnn", get_variant("mini"), 3, CPU, *width).state_dict() for width in ((), (32,))]
    assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])


def test_runs_of_another_width_have_different_names(mini):
    wide, usual = configured(mini, 64), configured(mini, 32)
    assert usual == experiment.configure(
        mini, "pan", 0, experiment.RunSettings(FIRST_RECIPES["fast"], "one", COMPUTING)
    )
    assert "width" not in usual.as_dict()  # runs of earlier versions keep their names
    assert wide.run_id != usual.run_id
    assert RunConfig.from_dict(wide.as_dict()) == wide
    assert (wide.training, usual.training) == ("fast,width=64", "fast")
    (task,) = sweep.SweepPlan(
        [resolve_network("pan", 64)], [mini], 1, RunSettings(FIRST_RECIPES["fast"], "one", COMPUTING)
    ).build_tasks()
    assert task.config == wide


def test_a_network_of_another_width_is_trained_recorded_and_loaded(narrow):
    config, model = load_model(narrow)
    assert config.width == 12
    assert model.stages[1].weight.shape == (12, 12, 3, 3)
    result = json.loads((narrow / records.RESULT).read_text())
    assert (result["recipe"], result["params"]) == (
        "fast,epochs=1,questions=all,width=12",
        sum(p.numel() for p in create_model("pan", "mini", width=12).parameters()),
    )


def test_rows_of_different_widths_are_not_compared(narrow, mini):
    code, _, error = bench("run", "--attn", "san", "--data", mini, "--runs", narrow.parent, *TRAINING)
    assert code == 0, error
    board = build_board(records.read_results(narrow.parent))
    assert set(board["recipe"]) == {"fast,epochs=1,questions=all,width=12", "fast,epochs=1,questions=all"}
    assert board["difference"].isna().all()


def test_initial_weights_must_have_the_same_width(narrow, mini, tmp_path):
    given = ["run", "--attn", "pan", "--data", mini, "--runs", tmp_path, "--init", narrow, *TRAINING]
    code, _, error = bench(*given)
    why = "its network has width 12, and its weights fit no other width; use --width 12"
    assert (code, error) == (2, f"error: --init {narrow}: {why}")
    code, run, error = bench(*given, "--width", 12)
    assert code == 0, error
    first = f"{load_config(narrow).dataset},fast,epochs=1,questions=all,width=12"
    assert training_stages(load_config(tmp_path / run).training) == ["fast,epochs=1,questions=all,width=12", first]


def test_the_record_of_a_width_builds_the_same_network(narrow, mini, tmp_path):
    given = ["--config", narrow / records.CONFIG, "--data", mini, "--threads", 1, "--runs", tmp_path]
    code, run, error = bench("run", *given)
    assert code == 0, error
    assert (tmp_path / run / records.WEIGHTS).read_bytes() == (narrow / records.WEIGHTS).read_bytes()
    code, _, error = bench("run", *given, "--width", 16)
    assert (code, error) == (2, f"error: --width: --config {given[1]} already sets it; omit one of them")


def test_relative_runtime_uses_the_baseline_of_the_same_width(narrow, monkeypatch):
    timed = {}

    def measure(models, *how, on_round):
        timed.update(models)
        raise InterruptedError

    monkeypatch.setattr(run_cost.timing, "time_networks", measure)
    config, model = load_model(narrow)
    with pytest.raises(InterruptedError):
        run_cost.measure_cost(config, model, get_variant("mini"), COMPUTING, 2)
    assert timed["pan"] is model
    assert timed["san"].stages[0].out_channels == 12


@pytest.mark.parametrize("width", [0, MAX_WIDTH + 1])
def test_invalid_width_is_refused(width, mini, narrow, tmp_path):
    code, _, error = bench("run", "--attn", "pan", "--data", mini, "--width", width)
    assert code == 2
    assert "--width" in error
    content = json.loads((narrow / records.CONFIG).read_text()) | {"width": width}
    (tmp_path / records.CONFIG).write_text(json.dumps(content))
    code, _, error = bench("run", "--config", tmp_path / records.CONFIG, "--data", mini)
    assert code == 3
    assert f"width: {width}" in error


def test_a_mechanism_that_does_not_support_a_width_is_refused_early(tmp_path, checked_here):
    own = tmp_path / "own.py"
    own.write_text(
        "from torch import nn\n\n\nclass Grouped(nn.Module):\n"
        "    def __init__(self, channels, query_dim):\n        super().__init__()\n"
        "        self.score = nn.Sequential(nn.Conv2d(channels, 8, 1, groups=8), nn.Conv2d(8, 1, 1))\n"
        "        self.asked = nn.Linear(query_dim, channels)\n\n"
        "    def forward(self, x, query):\n        return self.score(x + self.asked(query)[:, :, None, None])\n"
    )
    code, _, error = bench("run", "--attn", f"{own}:Grouped", "--variant", "mini", "--root", tmp_path, "--width", 20)
    assert code == 2, error
    assert "Class(20, 10, …) raises" in error
    assert not (tmp_path / "datasets").exists()
