"""A whole run in miniature: what `bench run` does with a network, on a few random images, before it is asked to.

A training step, a checkpoint written and read back, a resumed training, the test with its maps, snapshots, and weights
written and read back. What fails here would fail in the middle of a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.common.safetensors_io import decode, encode
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH, RECIPES
from bench.conformance.probe import UnfitError
from bench.data.split import Resident
from bench.evaluation import snapshots
from bench.evaluation.evaluate import BATCH as LARGEST
from bench.evaluation.evaluate import test
from bench.model import build
from bench.training.step import Step, optimizer_of
from bench.training.trainer import DivergedError, Trainer
from mnistref.common.errors import ProblemError
from mnistref.spec import VariantSpec
from mnistref.variants import VARIANTS

IMAGES, BATCH = 3, 2
TESTED = sorted({min(LARGEST, recipe.batch) for recipe in RECIPES.values()})
"""Images in a batch of the tests of runs: one number for each recipe."""
CPU = ComputeConfig(torch.device("cpu"))


def distinct_variants() -> list[VariantSpec]:
    """The variants that can be trained on, one for each image size and number of queries."""
    found: dict[tuple[int, int], VariantSpec] = {}
    for variant in VARIANTS.values():
        if variant.trainable:
            found.setdefault((variant.canvas, variant.queries), variant)
    return list(found.values())


def rehearse(attn: str, variant: VariantSpec, width: int = DEFAULT_WIDTH) -> None:
    """Train, test and read back a network on images of a variant's size.

    Args:
        attn: a slot list.
        variant: whose image size, queries and classes.
        width: channels of each convolution.

    Raises:
        UnfitError: with what failed, and why.
    """
    with _part("a training step"):
        trained, _ = _trained(attn, variant, width)
    with _part("its weights written and read back"):
        model = build(attn, variant, 0, CPU.device, width)
        model.load_state_dict(decode(encode(trained), "the weights"))
    with _part("the test"):
        for images in (IMAGES, 1):
            split = _random_split(variant, images)
            test(model, split, BATCH)
            snapshots.take_snapshots(model, split, variant, 1)


def rehearse_resuming(attn: str) -> None:
    """Train a small network twice, and once more from a checkpoint in the middle, and compare the outcomes.

    Raises:
        UnfitError: with what failed, and why.
    """
    variant = VARIANTS["mini"]
    with _part("a training step"):
        whole, halfway = _trained(attn, variant, DEFAULT_WIDTH)
        again, _ = _trained(attn, variant, DEFAULT_WIDTH)
    if difference := _difference(whole, again):
        raise UnfitError(f"two trainings with one seed come to another {difference}; draw from torch's generator alone")
    with _part("going on from a checkpoint"):
        resumed, _ = _trained(attn, variant, DEFAULT_WIDTH, halfway)
    if difference := _difference(whole, resumed):
        raise UnfitError(
            f"a training that goes on from its checkpoint comes to another {difference}: keep all that changes in "
            "parameters or buffers"
        )


def rehearse_batches(attn: str) -> None:
    """Train a small network for a step of the default recipe, and test it with the batches of every recipe.

    Raises:
        UnfitError: with what failed, and why.
    """
    variant, usual = VARIANTS["mini"], RECIPES["fast"].batch
    model = build(attn, variant, 0, CPU.device)
    images = _random_split(variant, usual)
    with _part(f"a training step of {usual} images"):
        for batch in images.batches(usual):
            Step(model, RECIPES["fast"], optimizer_of(RECIPES["fast"], model), CPU)(
                batch.images, batch.query, batch.label
            )
    for size in TESTED:
        with _part(f"a test with batches of {size} images"):
            test(model, _random_split(variant, size), size)


@contextmanager
def _part(what: str) -> Iterator[None]:
    """Say in which part of a run an error came."""
    try:
        yield
    except ProblemError:
        raise
    except DivergedError as error:
        raise UnfitError(f"{what}: {error}") from error
    except (Exception, SystemExit) as error:
        why = " ".join(str(error).split())[:300]
        raise UnfitError(f"{what} raises {type(error).__name__}: {why}") from error


def _random_split(variant: VariantSpec, count: int) -> Resident:
    """Questions about random images; the lower left quarter of each is the digit that is asked about."""
    generator = np.random.default_rng(0)
    side = variant.canvas
    images = torch.from_numpy(generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8))
    instance = torch.zeros(count, side, side, dtype=torch.uint8)
    instance[:, side // 2 :, : side // 2] = 1
    numbers = torch.arange(count)
    return Resident(
        image=numbers,
        slot=torch.zeros(count, dtype=torch.long),
        query=numbers % variant.queries,
        label=numbers % variant.classes,
        scale=torch.linspace(0.5, 3.0, count),
        images=images,
        instance=instance,
    )


def _trained(
    attn: str, variant: VariantSpec, width: int, checkpoint: tuple[bytes, dict] | None = None
) -> tuple[dict[str, Tensor], tuple[bytes, dict]]:
    """One epoch of two steps. → the state of the network, and the checkpoint after the first step."""
    model = build(attn, variant, 0, CPU.device, width)
    train, val = _random_split(variant, 2 * BATCH), _random_split(variant, BATCH)
    trainer = Trainer(replace(RECIPES["fast"], batch=BATCH, epochs=1), model, train, val, 0, CPU)
    if checkpoint:
        trainer.restore(decode(checkpoint[0], "the checkpoint"), checkpoint[1])
    kept: list[tuple[bytes, dict]] = [] if checkpoint is None else [checkpoint]

    def keep() -> None:
        if not kept:
            tensors, rest = trainer.state()
            kept.append((encode(tensors), rest))

    for _ in trainer.epochs(keep):
        pass
    return {name: value.detach().clone() for name, value in model.state_dict().items()}, kept[0]


def _difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> str:
    """The name of the first tensor that differs, as the module itself names it; nothing where none does."""
    for name, value in one.items():
        if not ((value == other[name]) | (value != value)).all():
            return name.removeprefix("readout.attend.").removeprefix("readout.")
    return ""
