"""Runs and processes for several tests of runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.runs import experiment
from mnistref.common.child_process import ChildProcess
from tests.bench.runs.helpers import configured


@pytest.fixture(scope="session")
def finished(mini, tmp_path_factory):
    """A finished run: configuration, folder, result."""
    config = configured(mini)
    folder = experiment.run(config, mini, tmp_path_factory.mktemp("runs"))
    return config, folder, json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="session")
def tiny(make) -> Path:
    """A data set of a few images."""
    return make("mini")


@pytest.fixture(scope="module")
def child() -> Iterator[ChildProcess]:
    """A process that runs functions of the tests of a module, which may change its state."""
    process = ChildProcess("tests.spoil")
    yield process
    process.close()
