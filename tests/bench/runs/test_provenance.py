"""How a run was made, according to its records."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.leaderboard.aggregate import build_board
from bench.runs import records
from tests.bench.leaderboard.helpers import result


def answers(**changes) -> dict[str, np.ndarray]:
    kept = {"right": np.array([0, 1, 1], np.uint8), "answer": np.array([0, 4, 2], np.int16)}
    kept |= {"scale_bin": np.array([-1, 0, 4], np.int8), "pointing": np.array([0, 1, 1], np.uint8)}
    return {**kept, "mask_correctness": np.array([0.0, 0.5, 1.0], np.float16), **changes}


def agreeing(**changes) -> dict:
    found = result(accuracy=2 / 3, n_test=3, mask_correctness=0.5, tpr=None, pointing=2 / 3)
    found |= {"accuracy_scale_0.5_1.0": 1.0, "n_scale_0.5_1.0": 1, "accuracy_scale_1.0_1.5": None}
    return found | {"n_scale_1.0_1.5": 0, "n_scale_2.5_3.0": 1, **changes}


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    (folder / records.RESULT).write_text(json.dumps(agreeing()))
    records.write_answers(folder, {name: torch.from_numpy(array) for name, array in answers().items()})
    return folder


@pytest.mark.parametrize(
    ("environment", "hardware"),
    [
        ({"device": "cpu", "threads": 2}, "cpu, 2 threads"),
        ({"device": "cpu", "processor": "AMD", "threads": 1, "processes": 2}, "AMD, 2 processes of 1 thread"),
        ({"device": "cpu", "processor": math.nan, "threads": math.nan}, "cpu"),
        ({"device": "cpu", "processor": [1], "threads": True, "processes": "x"}, "cpu"),
        ({"device": "NVIDIA H100"}, "NVIDIA H100"),
        ({"device": 5}, "cpu"),  # the result's own
    ],
)
def test_hardware_name_uses_the_known_fields(environment, hardware, run):
    (run / records.ENVIRONMENT).write_text(json.dumps(environment))
    assert build_board(records.read_results(run.parent))["hardware"].tolist() == [hardware]
