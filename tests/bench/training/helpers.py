"""Small trainings, uninterrupted and interrupted."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.loading import load_split
from bench.model import create_model
from bench.training import checkpoints
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.variants import get_variant

CPU = torch.device("cpu")
ON_CPU = ComputeConfig(CPU)
MINI = get_variant("mini")
SHORT = Recipe("fast", "adam", lr=0.003, batch=32, epochs=3, schedule="onecycle")


def network(attn: str) -> nn.Module:
    """Return a network for mini whose weights are always the same."""
    torch.manual_seed(0)
    return create_model(attn, variant="mini")


def trainer_for(mini, recipe: Recipe = SHORT, attn: str = "pan", seed: int = 0, precision: str = "fp32") -> Trainer:
    """Return a trainer whose network has the weights of this seed."""
    torch.manual_seed(seed)
    model = create_model(attn, variant="mini").to(memory_format=torch.channels_last)
    train = load_split(mini, "train", "one" if recipe.questions == "one" else "all", CPU)
    val = load_split(mini, "val", "one", CPU)
    return Trainer(recipe, model, TrainingSplits(train, val), seed, ComputeConfig(CPU, precision))


def train_with_stops(make: Callable[[], Trainer], steps: Sequence[int], folder: Path) -> tuple[Trainer, list[dict]]:
    """Train to the end, but stop after each of these steps and resume from a checkpoint in a new trainer.

    Args:
        make: Returns a new trainer.
        steps: Numbers of optimizer steps after which the training stops, ascending.
        folder: Where the checkpoint is saved.

    Returns:
        The last trainer, and the records of all epochs, with times set to 0.
    """

    class StoppedError(Exception):
        pass

    trainer, found = make(), []
    for stop in (*steps, None):

        def on_step(trainer=trainer, stop=stop):
            if trainer.steps_done == stop:
                checkpoints.save(folder, trainer)
                raise StoppedError

        with contextlib.suppress(StoppedError):
            for record in trainer.epochs(on_step):
                found.append({**record, "seconds": 0, "device_seconds": 0})
        trainer.train.close()
        torch.manual_seed(stop or 0)  # a new process has another random state
        if stop is not None:
            trainer = make()
            assert checkpoints.load(folder, trainer)
    return trainer, found
