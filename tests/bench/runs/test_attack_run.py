"""Attacks on a finished run."""

import shutil

import numpy as np
import pytest

from bench.attribution.fooling import Attack, AttackPlan
from bench.runs import attack_record
from bench.runs.answers import read_answers
from bench.runs.attack_run import attack_run
from mnistref.common.errors import DataProblemError
from tests.bench.runs.sweep_helpers import COMPUTING

PLAN = AttackPlan(("fgsm",), ("all", "target"), (8.0,))


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[1], tmp_path / "run")


def test_attacks_are_on_the_first_questions_and_are_recorded(run, mini):
    record = attack_run(run, mini, PLAN, images=9, batch=4, computing=COMPUTING)
    assert record.settings["images"] == 9
    assert list(record.changed) == PLAN.attacks()
    np.testing.assert_array_equal(record.right_before, read_answers(run)["right"][:9].astype(bool))
    assert (record.areas["all"] == 1).all()
    again = attack_record.RECORD.read(run)
    for attack in PLAN.attacks():
        np.testing.assert_array_equal(again.changed[attack], record.changed[attack])
    wrong_before, right_after = ~record.right_before, record.right[Attack("fgsm", "all", 8.0)]
    assert record.changed[Attack("fgsm", "all", 8.0)][wrong_before & right_after].all()


def test_a_run_without_weights_is_not_attacked(run, mini):
    (run / "weights.safetensors").unlink()
    with pytest.raises(DataProblemError, match="weights"):
        attack_run(run, mini, PLAN, images=9, batch=4, computing=COMPUTING)
    assert attack_record.RECORD.read(run) is None
