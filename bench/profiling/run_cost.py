"""What the network of a run costs: time and memory, beside those of `san`."""

import os
from dataclasses import replace
from typing import Any

from bench.compute import ComputeConfig
from bench.config import DEFAULT_BASELINE, TIMING_ROUNDS, RunConfig
from bench.model import AttributeCNN, build
from bench.profiling import timing
from mnistref.common.errors import UsageProblemError
from mnistref.spec import VariantSpec

VARIABLE = "BENCH_TIMING_ROUNDS"
"""The environment variable with the number of rounds in which a run is timed; fewer where times do not matter."""


def rounds() -> int:
    """What the variable says, or the usual number; a usage error where it is no number."""
    asked = os.environ.get(VARIABLE) or str(TIMING_ROUNDS)
    if not asked.isdecimal() or not int(asked):
        raise UsageProblemError(f"{VARIABLE}={asked}: give a whole number, 1 or more")
    return int(asked)


def measure(
    config: RunConfig, model: AttributeCNN, variant: VariantSpec, computing: ComputeConfig, batch: int
) -> dict[str, Any]:
    """Time and memory of the network, and its step's time over that of `san` of its width, timed turn by turn with it.

    `batch`: images of a step, which are fewer than the recipe's where the training set is smaller.
    """
    recipe = replace(config.recipe, batch=batch)
    models = {config.attn: model}
    if config.attn != DEFAULT_BASELINE:
        models[DEFAULT_BASELINE] = build(DEFAULT_BASELINE, variant, config.seed, computing.device, config.width)
    timed = timing.measure(models, recipe, variant, computing, rounds())
    own = timed[config.attn]
    return {**own.as_dict(), "relative_runtime": own.step.over(timed[DEFAULT_BASELINE].step).median}
