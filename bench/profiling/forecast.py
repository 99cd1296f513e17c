"""How long trainings take, estimated from one measured step of each network."""

import time
from dataclasses import replace

import torch

from bench.attention import NetworkSpec
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.model import build
from bench.profiling.timing import random_batch
from bench.training.step import Step, build_optimizer
from mnistref.spec import VariantSpec

MAX_IMAGES = 4
"""On a CPU, a step of more images is estimated by one of this many, in proportion."""


def estimate_step_seconds(
    network: NetworkSpec,
    variant: VariantSpec,
    recipe: Recipe,
    computing: ComputeConfig,
    threads: int | None = None,
    questions: int | None = None,
) -> float:
    """Return the estimated seconds of a training step. The first step, which is slower, is not counted.

    Args:
        network: the network. Its modules are executed.
        variant: gives the sizes of images, queries and labels.
        recipe: gives the optimizer, and the images and questions of a step.
        computing: device and precision. Steps are not captured, so that those of small networks on a GPU are estimated
            too slow.
        threads: number of CPU threads; None for the present number.
        questions: number of questions about an image in a step; None for that of `mean_questions`.
    """
    images = images_in_measured_step(recipe, computing.device.type)
    questions = mean_questions(recipe, variant) if questions is None else questions
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[computing.device] if computing.device.type == "cuda" else []):
        data = random_batch(images, variant, computing.device, questions if recipe.questions != "one" else None)
        model = build(network, variant, 0, computing.device).train()
        step = Step(model, recipe, build_optimizer(recipe, model), replace(computing, capture="eager"))
        try:
            torch.set_num_threads(threads or before)
            with computing.backend_flags():
                for _ in range(2):
                    started = time.perf_counter()
                    float(step(*data).loss)  # waits for the device
                    seconds = time.perf_counter() - started
        finally:
            torch.set_num_threads(before)
    return seconds * recipe.batch / images


def images_in_measured_step(recipe: Recipe, device_type: str) -> int:
    """Return the number of images in the step that is measured: few on a CPU, where the time is in proportion to them.

    A GPU needs about as long for few images as for many.
    """
    return min(recipe.batch, MAX_IMAGES) if device_type == "cpu" else recipe.batch


def mean_questions(recipe: Recipe, variant: VariantSpec) -> int:
    """Return the mean number of questions about an image in a step, rounded, if each digit has a question."""
    if isinstance(recipe.questions, int):
        return recipe.questions
    return round(sum(variant.digits) / 2) if recipe.questions == "all" else 1
