"""The bar chart of training steps."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")
from bench.profiling.benchmark import NetworkCost, NumericalError
from bench.profiling.plot import save_bars
from bench.profiling.timing import Spread, Timing
from mnistref.common.errors import UsageProblemError


def cost(attn: str, *milliseconds: float) -> NetworkCost:
    step, san = Spread(milliseconds), Spread((10.0, 10.0, 10.0))
    timing = Timing(step, step, 1.0, 1.0, 8, 2, "cpu")
    ratios = {"san": step.ratio_to(san)}
    return NetworkCost(attn, 9, timing, ratios, ratios, NumericalError(1e-6, None))


COSTS = [cost("san", 10.0, 10.0, 10.0), cost("arnn", 40.0, 50.0, 60.0)]


def test_bars_name_networks_times_and_ratios(tmp_path):
    save_bars("batch 8", COSTS, ["san"], tmp_path / "bars.svg")
    text = (tmp_path / "bars.svg").read_text()
    for word in ("batch 8", "san", "arnn", "50 ms, 5.00 × san", "10 ms, 1.00 × san"):
        assert word in text


def test_the_same_costs_give_the_same_file(tmp_path):
    for name in ("one", "other"):
        save_bars("batch 8", COSTS, ["san"], tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    save_bars("batch 8", [replace(COSTS[1], attn="brnn2")], ["san"], tmp_path / "third.png")
    assert (tmp_path / "third.png").read_bytes() != (tmp_path / "one.png").read_bytes()


def test_unknown_format_is_a_usage_error(tmp_path):
    with pytest.raises(UsageProblemError, match=r"ends in"):
        save_bars("batch 8", COSTS, ["san"], tmp_path / "bars.txt")
