"""The advice after running out of memory: which batch size would fit."""

import gc
from dataclasses import replace

import torch

from bench.attention import NetworkSpec
from bench.common.memory import give_back, ran_out
from bench.compute import ComputeConfig
from bench.config import DEFAULT_BASELINE, MIN_BATCH, Recipe
from bench.model import build
from bench.networks import resolve
from bench.profiling.timing import Workload, time_networks
from mnistref.spec import VariantSpec


def find_fitting_batch(
    network: NetworkSpec, recipe: Recipe, variant: VariantSpec, computing: ComputeConfig
) -> int | None:
    """Return the first of the recipe's batch size, its half, its quarter, … that fits into memory; None if none does.

    Each size is tried with the part of a run that needs most memory: training and timing the network with `san`. Call
    this when nothing refers to the failed training any more, including its exception. The random generators are
    restored.
    """
    batch = recipe.batch
    with torch.random.fork_rng(devices=[computing.device] if computing.device.type == "cuda" else []):
        while batch >= MIN_BATCH:
            if _batch_fits(network, replace(recipe, batch=batch), variant, computing):
                return batch
            batch //= 2
    return None


def _batch_fits(network: NetworkSpec, recipe: Recipe, variant: VariantSpec, computing: ComputeConfig) -> bool:
    """Return whether the network can be trained and timed with the batch size of the recipe."""
    gc.collect()
    give_back()
    if computing.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        baseline = resolve(DEFAULT_BASELINE, network.width, network.architecture)
        models = {each.name: build(each, variant, 0, computing.device) for each in dict.fromkeys((network, baseline))}
        workload = Workload(recipe, variant, recipe.max_questions(variant.digits[1]))
        time_networks(models, workload, computing, rounds=1)
    except Exception as error:
        if not ran_out(error):
            raise
        return False
    return True


def describe_out_of_memory(
    network: NetworkSpec, recipe: Recipe, variant: VariantSpec, computing: ComputeConfig, processes: int = 1
) -> str:
    """Return one line about what does not fit into memory, and what to do.

    With several processes, which share a batch, no other batch size is tried, because one process cannot try it alone.
    """
    batch = recipe.batch
    where = "this machine" if computing.device.type == "cpu" else computing.device_name
    if processes > 1:
        return f"out of memory on {where}: give a --batch below {batch}, or use more processes"
    fitting = find_fitting_batch(network, recipe, variant, computing)
    if fitting == batch:
        return (
            f"out of memory: the network fits into the memory of {where}, but not together with the data; give --stream"
        )
    advice = f"give --batch {fitting}" if fitting else "no smaller batch fits either; use a device with more memory"
    return f"out of memory: a batch of {batch} does not fit into the memory of {where}; {advice}"
