"""A finished run for all tests of runs."""

import json

import pytest

from bench.runs import experiment
from tests.bench.runs.helpers import configured


@pytest.fixture(scope="session")
def finished(mini, tmp_path_factory):
    """A finished run: configuration, folder, result."""
    config = configured(mini)
    folder = experiment.run(config, mini, tmp_path_factory.mktemp("runs"))
    return config, folder, json.loads((folder / "result.json").read_text())
