"""The example of a mechanism in a user file."""

import json

import pytest
import torch

import bench
from bench.attention import plugins
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.conformance.checks import check_mechanism
from bench.runs import experiment, records
from mnistref.common.errors import UsageProblemError
from tests.bench.attention.user_modules import EXAMPLE


def test_example_mechanism_is_short_and_fit():
    code = [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.startswith('"""')]
    assert len(code) <= 20
    assert {f.ok for f in check_mechanism(f"{EXAMPLE}:Compare")} == {True}


def test_example_mechanism_trains_and_loads_from_its_record(mini, tmp_path):
    copy = tmp_path / "mine.py"
    copy.write_text(EXAMPLE.read_text())
    recipe = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")
    config = experiment.configure(
        mini, f"{copy}:Compare:width=8", 0, experiment.RunSettings(recipe, "one", ComputeConfig(torch.device("cpu")))
    )
    assert config.attn.startswith("mine.py:Compare#")
    assert config.attn.endswith(":width=8")
    run = experiment.run(config, mini, tmp_path / "runs")
    assert json.loads((run / "result.json").read_text())["attn"] == config.attn
    places = json.loads((run / "config.json").read_text())[records.USER_FILES]
    assert list(places.values()) == [str(copy)]
    plugins._loaded.clear()
    with pytest.raises(UsageProblemError, match="a recorded name, not a path; give path"):
        bench.create_model(config.attn, variant="mini")
    plugins.load_recorded(places)
    assert bench.create_model(config.attn, variant="mini").readout.attend.key.out_channels == 8
    plugins._loaded.clear()
    copy.write_text("raise SystemExit('run before it was known to be the same')\n")
    with pytest.raises(UsageProblemError, match="has changed since the run"):
        plugins.load_recorded(places)
    copy.unlink()
    with pytest.raises(UsageProblemError, match="restore the file from which"):
        plugins.load_recorded(places)
