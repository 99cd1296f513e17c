"""The time of training steps, measured on real training."""

import torch

from bench.compute import ComputeConfig
from mnistref.variants import VARIANTS
from tests.perf import trainer_steps


def test_probe_times_real_training():
    probed = trainer_steps.measured("san", ComputeConfig(torch.device("cpu")), 4, 2, "mini")
    assert 0 < probed["infer_ms_per_image"] < probed["train_step_ms"]
    split = trainer_steps.example(VARIANTS["mini"], 6, 2, torch.device("cpu"))
    assert (len(split), split.image_count) == (12, 6)
