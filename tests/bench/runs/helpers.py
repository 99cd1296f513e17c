"""A small configuration of a run."""

import torch

from bench.compute import ComputeConfig
from bench.config import Recipe, RunConfig
from bench.runs import experiment

CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")


def configured(mini, attn="pan", recipe=SHORT, seed=0) -> RunConfig:
    """Return the configuration of a short run on this data set."""
    return experiment.configure(mini, attn, seed, experiment.RunSettings(recipe, "one", ComputeConfig(CPU)))
