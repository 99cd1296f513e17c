"""How long a sweep takes, estimated before it begins."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.attention import NetworkSpec
from bench.common.number_format import describe_duration
from bench.compute import ComputeConfig
from bench.kernels.diagonal_lstm import ImplementationError
from bench.profiling.forecast import estimate_step_seconds, mean_questions
from bench.runs import records
from bench.runs.sweep import Task
from mnistref.dataset import read_manifest
from mnistref.variants import get_variant

log = logging.getLogger("bench")

MIN_IMAGES = 100_000
"""A sweep that trains on fewer images in all is not estimated, because it is short."""


def announce_duration(tasks: Sequence[Task], runs: Path, workers: int | None, threads: int | None) -> None:
    """Log how many runs are not finished, and how long their training takes if the sweep is long.

    For the estimate, a step of each network is measured. Networks with user modules are left out, because their code
    must not run in this process.

    Args:
        tasks: the runs.
        runs: folder of all runs.
        workers: number of runs at a time; None if it is unknown, and then the time is not estimated.
        threads: number of CPU threads of each run; None for PyTorch's default.
    """
    waiting = [task for task in tasks if not records.is_finished(runs / task.config.run_id)]
    known = [task for task in waiting if not task.network.has_user_module]
    is_long = sum(_steps(task) * task.config.recipe.batch for task in waiting) >= MIN_IMAGES
    is_estimated = bool(known) and is_long and workers is not None
    if waiting:
        finished = f" of {len(tasks)}, the others are finished" * (len(waiting) < len(tasks))
        at_once = f"; {workers} at a time" if workers else ""
        follows = "; an estimate of the time follows, from a step of each network" * is_estimated
        log.info("%s%s%s%s", f"{len(waiting)} run{'s' * (len(waiting) > 1)}", finished, at_once, follows)
    if not is_estimated or workers is None:
        return
    step_seconds: dict[tuple[NetworkSpec, str], float] = {}
    try:
        for task in known:
            key = task.network, task.config.variant
            if key not in step_seconds:
                config, variant = task.config, get_variant(task.config.variant)
                computing = ComputeConfig(torch.device(config.device), config.precision)
                step_seconds[key] = estimate_step_seconds(task.network, variant, config.recipe, computing, threads)
    except (ImplementationError, RuntimeError) as error:  # the runs will report it
        log.warning("the time is not estimated: %s", error)
        return
    seconds = {task: _steps(task) * step_seconds[task.network, task.config.variant] for task in known}
    longest = max(seconds, key=seconds.__getitem__)
    total = max(sum(seconds.values()) / workers, seconds[longest])
    omitted = f"; {len(waiting) - len(known)} runs of your own modules are not estimated" * (len(known) < len(waiting))
    log.info(
        "about %s of training for %d runs, %d at a time; the longest, %s, takes about %s%s",
        *(describe_duration(total), len(known), workers, longest.name, describe_duration(seconds[longest]), omitted),
    )


def _steps(task: Task) -> int:
    """Return the number of training steps of a run, at most."""
    recipe, manifest = task.config.recipe, read_manifest(task.data)
    units = manifest.images("train")
    if recipe.questions == "one" and task.config.queries == "all":
        units *= mean_questions(recipe, manifest.variant)
    return recipe.epochs * max(1, units // recipe.batch)
