"""How long a sweep takes, estimated before it begins."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from bench.attention import NetworkSpec
from bench.attention.user_code import describe_error
from bench.common.number_format import describe_duration
from bench.compute import ComputeConfig
from bench.config import Recipe, RunConfig
from bench.conformance.isolation import ProbeProcess
from bench.data.online import queries_in_training
from bench.data.sets import read_manifest, read_triples
from bench.networks import network_of
from bench.profiling.forecast import estimate_step_seconds
from bench.runs import records
from bench.runs.sweep import Task
from mnistref.spec import VariantSpec

log = logging.getLogger("bench")

MIN_IMAGES = 100_000
"""A sweep that trains on fewer images in all is not estimated, because it is short."""


def describe_size(counts: Mapping[str, int], images: Sequence[int], recipe: Recipe) -> str:
    """Return how large a sweep is, as one line.

    Args:
        counts: singular noun → number of what is combined, such as networks and seeds.
        images: number of training images of each data set.
        recipe: how the networks are trained.
    """
    product = " × ".join(_count(number, noun) for noun, number in counts.items())
    low, high = min(images), max(images)
    many = _count(high, "training image") if low == high else f"{low:,} to {_count(high, 'training image')}"
    return f"{product}; each run has {many} and {'up to ' * bool(recipe.patience)}{_count(recipe.epochs, 'epoch')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def announce_duration(tasks: Sequence[Task], runs: Path, workers: int | None, threads: int | None) -> None:
    """Log how many runs are not finished, and how long their training takes if the sweep is long.

    For the estimate, a step of each network is measured, that of a network with user modules in a child process.
    Networks whose step fails are left out.

    Args:
        tasks: the runs.
        runs: folder of all runs.
        workers: number of runs at a time; None if it is unknown, and then the time is not estimated.
        threads: number of CPU threads of each run; None for PyTorch's default.
    """
    waiting = [task for task in tasks if not records.is_finished(runs / task.config.run_id)]
    is_long = sum(_steps(task) * task.config.recipe.batch for task in waiting) >= MIN_IMAGES
    is_estimated = bool(waiting) and is_long and workers is not None
    if waiting:
        finished = f" of {len(tasks)}, the others are finished" * (len(waiting) < len(tasks))
        at_once = f"; {workers} at a time" if workers else ""
        follows = "; an estimate of the time follows, from a step of each network" * is_estimated
        log.info("%s%s%s%s", f"{len(waiting)} run{'s' * (len(waiting) > 1)}", finished, at_once, follows)
    if not is_estimated or workers is None:
        return
    step_seconds = _measure_steps(waiting, threads)
    keys = {task: (task.network, task.config.variant) for task in waiting}
    seconds = {task: _steps(task) * step_seconds[key] for task, key in keys.items() if key in step_seconds}
    if not seconds:
        return
    longest = max(seconds, key=seconds.__getitem__)
    total = max(sum(seconds.values()) / workers, seconds[longest])
    log.info(
        "about %s of training for %d runs, %d at a time; the longest, %s, takes about %s",
        *(describe_duration(total), len(seconds), workers, longest.name, describe_duration(seconds[longest])),
    )


def _measure_steps(tasks: Sequence[Task], threads: int | None) -> dict[tuple[NetworkSpec, str], float]:
    """Return the seconds of a step for each network and variant of the tasks. Log which ones cannot be measured."""
    first_tasks = {(task.network, task.config.variant): task for task in reversed(tasks)}
    found: dict[tuple[NetworkSpec, str], float] = {}
    with ProbeProcess() as probe:
        for key, task in reversed(first_tasks.items()):
            network, config, variant = task.network, task.config, read_manifest(task.data).variant
            how = ComputeConfig(torch.device(config.device), config.precision), threads
            try:
                questions = _questions_in_step(task)
                if network.has_user_module:  # the child process resolves the name, because it has its own classes
                    found[key] = probe.call(_estimate_by_name, network.name, config, variant, *how, questions)
                else:
                    found[key] = estimate_step_seconds(network, variant, config.recipe, *how, questions=questions)
            except Exception as error:  # user code may raise any error; the runs will report it
                log.warning(
                    "the time of %s on %s is not estimated: %s", network.name, config.variant, describe_error(error)
                )
    return found


def _estimate_by_name(
    attn: str, config: RunConfig, variant: VariantSpec, computing: ComputeConfig, threads: int | None, questions: int
) -> float:
    """Do what `estimate_step_seconds` does, for a network that this process resolves."""
    return estimate_step_seconds(network_of(config), variant, config.recipe, computing, threads, questions=questions)


def _steps(task: Task) -> int:
    """Return the number of training steps of a run, at most."""
    recipe = task.config.recipe
    images, questions = _count_training(task.data, queries_in_training(task.config.queries, recipe))
    units = questions if recipe.questions == "one" else images
    return recipe.epochs * max(1, units // recipe.batch)


def _questions_in_step(task: Task) -> int:
    """Return the mean number of questions about an image in a step, rounded."""
    asked = task.config.recipe.questions
    if isinstance(asked, int):
        return asked
    images, questions = _count_training(task.data, queries_in_training(task.config.queries, task.config.recipe))
    return max(1, round(questions / images)) if asked == "all" else 1


@cache
def _count_training(data: Path, queries: str) -> tuple[int, int]:
    """Return the number of training images with such questions, see `UNITS`, and the number of these questions."""
    image = read_triples(data, "train", queries).image
    return len(np.unique(image)), len(image)
