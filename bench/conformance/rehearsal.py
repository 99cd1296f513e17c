"""A whole run in miniature on a few random images, to find errors of a module before a run.

It does all parts of a run: a training step, a checkpoint, a resumed training, a test with maps and snapshots, saving
and loading of weights. Without it, an error would occur in the middle of a run.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.attention import NetworkSpec
from bench.attention.user_code import describe_error
from bench.common.safetensors_io import decode, encode
from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.conformance.probe import UnfitError
from bench.data.split import Resident
from bench.evaluation import snapshots
from bench.evaluation.evaluate import BATCH_IMAGES as MAX_TEST_BATCH
from bench.evaluation.evaluate import DivergedError, test
from bench.model import build
from bench.training.step import Step, build_optimizer
from bench.training.trainer import Trainer, TrainingSplits
from bench.training.trainer_state import TrainerState
from mnistref.common.errors import ProblemError
from mnistref.spec import VariantSpec
from mnistref.variants import VARIANTS, change_law

_TEST_IMAGES, _BATCH_IMAGES = 3, 2
"""Numbers of images of the test, and of a batch."""
_BATCHES = [min(MAX_TEST_BATCH, recipe.batch) for recipe in RECIPES.values()]
TEST_BATCH_SIZES = sorted({min(_BATCHES), max(_BATCHES)})
"""Numbers of images in a batch of the test: the smallest and the largest of all recipes."""
CPU = ComputeConfig(torch.device("cpu"))


SMALL_VARIANTS = (VARIANTS["mini"], change_law(VARIANTS["mone"], scales=(0.5, 1.0), canvas=32))
"""Variants for networks other than the default: one with questions, and one without."""


def distinct_variants() -> list[VariantSpec]:
    """Return variants that can be used for training, one for each pair of image size and number of queries.

    Variants without a question are left out. `bench run` rehearses a network on its own variant.
    """
    found: dict[tuple[int, int], VariantSpec] = {}
    for variant in VARIANTS.values():
        if variant.trainable and variant.asks:
            found.setdefault((variant.canvas, variant.queries), variant)
    return list(found.values())


def rehearse(network: str | NetworkSpec, variant: VariantSpec) -> None:
    """Train, save, load and test a network on random images.

    Args:
        network: a resolved network, or a slot list for the default network.
        variant: image size, queries and classes of the network.

    Raises:
        UnfitError: a part of the run failed. The message has the part and the reason.
    """
    with _describe_errors("a training step"):
        weights, _ = _train(network, variant)
    with _describe_errors("saving and loading the weights"):
        model = build(network, variant, 0, CPU.device)
        model.load_state_dict(decode(encode(weights), "the weights"))
    with _describe_errors("the test"):
        for images in (_TEST_IMAGES, 1):
            split = _random_split(variant, images)
            test(model, split, _BATCH_IMAGES)
            snapshots.take_snapshots(model, split, variant, 1)


def rehearse_resuming(network: str | NetworkSpec) -> None:
    """Train a small network twice, and once more from a checkpoint in the middle, and compare the weights.

    Raises:
        UnfitError: a part of the run failed. The message has the part and the reason.
    """
    variant = VARIANTS["mini"]
    with _describe_errors("a training step"):
        expected, checkpoint = _train(network, variant)
        repeated, _ = _train(network, variant)
    if difference := _find_difference(expected, repeated):
        raise UnfitError(
            f"two trainings with the same seed differ in {difference}; draw random numbers from torch's generator only"
        )
    with _describe_errors("resuming from a checkpoint"):
        resumed, _ = _train(network, variant, checkpoint)
    if difference := _find_difference(expected, resumed):
        raise UnfitError(
            f"a training that resumes from its checkpoint differs in {difference}; store everything that changes in "
            "parameters or buffers"
        )


def rehearse_batches(network: str | NetworkSpec) -> None:
    """Train a small network for a step of the default recipe, and test it with the batch size of every recipe.

    Raises:
        UnfitError: a part of the run failed. The message has the part and the reason.
    """
    variant, batch_size = VARIANTS["mini"], RECIPES["fast"].batch
    model = build(network, variant, 0, CPU.device)
    images = _random_split(variant, batch_size)
    with _describe_errors(f"a training step of {batch_size} images"):
        for batch in images.batches(batch_size):
            Step(model, RECIPES["fast"], build_optimizer(RECIPES["fast"], model), CPU)(
                batch.images, batch.query, batch.label
            )
    for size in TEST_BATCH_SIZES:
        with _describe_errors(f"a test with batches of {size} images"):
            test(model, _random_split(variant, size), size)


@contextmanager
def _describe_errors(label: str) -> Iterator[None]:
    """Inside this context, replace an error by an UnfitError that names this part of a run."""
    try:
        yield
    except ProblemError:
        raise
    except DivergedError as error:
        raise UnfitError(f"{label}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UnfitError(f"{label} raises {describe_error(error)}") from error


def _random_split(variant: VariantSpec, count: int) -> Resident:
    """Return random images with a question about each. The lower left quarter of an image is the queried digit."""
    generator = np.random.default_rng(0)
    side = variant.canvas
    images = torch.from_numpy(generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8))
    instance = torch.zeros(count, side, side, dtype=torch.uint8)
    instance[:, side // 2 :, : side // 2] = 1
    numbers = torch.arange(count)
    return Resident(
        image=numbers,
        slot=torch.zeros(count, dtype=torch.long),
        query=numbers % max(1, variant.queries),
        label=numbers % variant.classes,
        scale=torch.linspace(0.5, 3.0, count),
        images=images,
        instance=instance,
        asks=variant.asks,
    )


def _train(
    network: str | NetworkSpec, variant: VariantSpec, checkpoint: tuple[bytes, TrainerState] | None = None
) -> tuple[dict[str, Tensor], tuple[bytes, TrainerState]]:
    """Train a network for one epoch of two steps, or resume its training.

    Args:
        network: a resolved network, or a slot list for the default network.
        variant: image size, queries and classes of the network.
        checkpoint: the checkpoint to resume from: tensors as safetensors, and all other values.

    Returns:
        The weights after the training, and the checkpoint after the first step.
    """
    model = build(network, variant, 0, CPU.device)
    splits = TrainingSplits(_random_split(variant, 2 * _BATCH_IMAGES), _random_split(variant, _BATCH_IMAGES))
    recipe = replace(RECIPES["fast"], batch=_BATCH_IMAGES, epochs=1)
    trainer = Trainer(recipe, model, splits, seed=0, computing=CPU)
    if checkpoint:
        trainer.restore(decode(checkpoint[0], "the checkpoint"), checkpoint[1])
    saved: list[tuple[bytes, TrainerState]] = [] if checkpoint is None else [checkpoint]

    def save_first() -> None:
        if not saved:
            tensors, values = trainer.state()
            saved.append((encode(tensors), values))

    for _ in trainer.epochs(save_first):
        pass
    return {name: value.detach().clone() for name, value in model.state_dict().items()}, saved[0]


def _find_difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> str:
    """Return the name of the first tensor that differs, as the module names it; an empty string if all are equal.

    NaN counts as equal, because a network may have it in a constant buffer.
    """
    for name, value in first.items():
        if not ((value == second[name]) | (value != value)).all():
            return name.removeprefix("readout.attend.").removeprefix("readout.")
    return ""
