"""The cost of the network of a run: its time and memory, compared with `san`."""

import os
from collections.abc import Callable
from dataclasses import replace

from bench.attention import NONE as WITHOUT_ATTENTION
from bench.compute import ComputeConfig
from bench.config import DEFAULT_BASELINE, TIMING_ROUNDS, RunConfig
from bench.evaluation.columns import OVER_NONE, RELATIVE_RUNTIME
from bench.model import SlotNetwork, build
from bench.networks import network_of
from bench.profiling import timing
from mnistref.common.errors import UsageProblemError
from mnistref.spec import VariantSpec

ROUNDS_VARIABLE = "BENCH_TIMING_ROUNDS"
"""Environment variable with the number of timing rounds of a run. Tests, which ignore times, set a small number."""


def timing_rounds() -> int:
    """Return the number of timing rounds from the environment variable, or the default number.

    Raises:
        UsageProblemError: the variable is not a whole number of 1 or more.
    """
    text = os.environ.get(ROUNDS_VARIABLE) or str(TIMING_ROUNDS)
    if not text.isdecimal() or not int(text):
        raise UsageProblemError(f"{ROUNDS_VARIABLE}={text}: give a whole number, 1 or more")
    return int(text)


def measure_cost(
    config: RunConfig,
    model: SlotNetwork,
    variant: VariantSpec,
    computing: ComputeConfig,
    batch: int,
    on_round: Callable[[], object] = lambda: None,
) -> dict[str, float | int]:
    """Return the entries of result.json about time and memory of a network.

    Its step is timed alternately with that of `san` in the same network of the same width, for the ratio of both. If
    images come without a question, so is the same network without attention.

    Args:
        config: the configuration of the run.
        model: the network.
        variant: the variant.
        computing: device, precision and capture.
        batch: images per step; fewer than in the recipe if the training set is smaller.
        on_round: called after each of 2 × `timing_rounds()` rounds.
    """
    workload = timing.Workload(replace(config.recipe, batch=batch), variant)
    models = {config.attn: model}
    for name in [DEFAULT_BASELINE] if variant.asks else [DEFAULT_BASELINE, WITHOUT_ATTENTION]:
        if name not in models:
            models[name] = build(network_of(replace(config, attn=name)), variant, config.seed, computing.device)
    timings = timing.time_networks(models, workload, computing, timing_rounds(), on_round=on_round)
    own = timings[config.attn]
    ratios = {RELATIVE_RUNTIME: own.step.ratio_to(timings[DEFAULT_BASELINE].step).median}
    if not variant.asks:
        ratios[OVER_NONE] = own.step.ratio_to(timings[WITHOUT_ATTENTION].step).median
    return {**own.as_dict(), **ratios}
