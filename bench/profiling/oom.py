"""What to say when memory runs out: which batch would have fitted."""

import gc
from dataclasses import replace

import torch

from bench.common.memory import give_back, ran_out
from bench.compute import ComputeConfig
from bench.config import DEFAULT_BASELINE, MIN_BATCH, RunConfig
from bench.model import build
from bench.profiling.timing import measure
from mnistref.spec import VariantSpec


def fitting_batch(config: RunConfig, variant: VariantSpec, computing: ComputeConfig) -> int | None:
    """The first of the recipe's batch, its half, its quarter … that fits into memory; None if none does.

    Tried is what takes most of a run: to train and time the network beside `san`.
    Call it when nothing refers to the failed training any more, its error included. The generators are left as they
    were.
    """
    batch = config.recipe.batch
    with torch.random.fork_rng(devices=[computing.device] if computing.device.type == "cuda" else []):
        while batch >= MIN_BATCH:
            if _fits(config, variant, computing, batch):
                return batch
            batch //= 2
    return None


def _fits(config: RunConfig, variant: VariantSpec, computing: ComputeConfig, batch: int) -> bool:
    gc.collect()
    give_back()
    if computing.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        models = {
            name: build(name, variant, 0, computing.device, config.width) for name in (config.attn, DEFAULT_BASELINE)
        }
        questions = config.recipe.max_questions(variant.digits[1])
        measure(models, replace(config.recipe, batch=batch), variant, computing, rounds=1, questions=questions)
    except Exception as error:
        if not ran_out(error):
            raise
        return False
    return True


def advice(config: RunConfig, variant: VariantSpec, computing: ComputeConfig, processes: int = 1) -> str:
    """One line: what does not fit, and what does. Several processes share a batch, and none can try alone."""
    asked = config.recipe.batch
    where = "this machine" if computing.device.type == "cpu" else computing.device_name
    if processes > 1:
        return f"out of memory on {where}: give a smaller --batch than {asked}, or more processes"
    batch = fitting_batch(config, variant, computing)
    if batch == asked:
        return f"out of memory: the network fits into the memory of {where}, but not the data beside it; give --stream"
    does = f"--batch {batch} does" if batch else "nor does any smaller one; use a device with more memory"
    return f"out of memory: a batch of {asked} does not fit into the memory of {where}; {does}"
