"""Fixtures for the tests of the report: the folder of two short runs, and a copy that a test may change."""

import shutil
from pathlib import Path

import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.runs import experiment
from tests.bench.report.helpers import draw_pictures


@pytest.fixture(scope="session")
def real(mini, tmp_path_factory) -> Path:
    """Return a folder of two short runs, with drawn pictures."""
    runs = tmp_path_factory.mktemp("data") / "runs"
    for attn in ("pan", "none"):
        recipe = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")
        config = experiment.configure(
            mini, attn, 0, experiment.RunSettings(recipe, "one", ComputeConfig(torch.device("cpu")))
        )
        draw_pictures(experiment.run(config, mini, runs), maps=attn == "pan")
    return runs


@pytest.fixture
def runs(real, tmp_path) -> Path:
    """Return a copy of these runs."""
    shutil.copytree(real, tmp_path / "runs", ignore=shutil.ignore_patterns(".locks", "checkpoint", "weights.*"))
    return tmp_path / "runs"
