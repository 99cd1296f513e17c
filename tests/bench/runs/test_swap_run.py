"""Swapped questions on a finished run."""

import shutil
from dataclasses import replace

import pytest

from bench.runs import experiment, swap_record
from bench.runs.swap_run import swap_run
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_split
from tests.bench.runs.helpers import SHORT, configured
from tests.bench.runs.sweep_helpers import COMPUTING


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[1], tmp_path / "run")


def test_swapped_questions_of_a_run_are_recorded(run, mini):
    record = swap_run(run, mini, images=10, batch=3, computing=COMPUTING)
    classes = read_split(mini, "test", "digit_class")["digit_class"][:10]
    several = sum(len({*row[row >= 0].tolist()}) > 1 for row in classes)
    assert record.settings["images"] == several > 0
    assert all(len(values) == several for values in (*record.measures.values(), *record.right.values()))
    assert swap_record.RECORD.read(run).settings == record.settings


def test_swapped_questions_of_a_network_without_a_map_leave_no_record(mini, tmp_path):
    run = experiment.run(configured(mini, "none", replace(SHORT, epochs=1)), mini, tmp_path)
    with pytest.raises(UsageProblemError, match="none has no map, so it cannot follow the question"):
        swap_run(run, mini, images=5, batch=3, computing=COMPUTING)
    assert swap_record.RECORD.read(run) is None
