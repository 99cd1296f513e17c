"""The state of a training between two steps: the content of a checkpoint, and its validation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

from bench.compute import ComputeConfig
from bench.evaluation.columns import DIAGONAL_LSTM
from bench.evaluation.record_keys import BEST_EPOCH
from bench.kernels.diagonal_lstm import RECORDED
from bench.training.epoch import EpochState


class TrainerState(TypedDict):
    """The part of a checkpoint that is stored as JSON.

    Attributes:
        epoch: number of complete epochs.
        under: the epoch that has begun; None between two epochs. Early versions omit it.
        best_epoch: number of the epoch with the best validation accuracy, from 1; 0 before the first epoch ends.
        best_accuracy: the accuracy of that epoch.
        groups: the parameter groups of the optimiser.
        diagonal_lstm: names of the implementations of the diagonal LSTM that have run. Early versions omit it.
        schedule: the state of the learning-rate scheduler.
    """

    epoch: int
    under: NotRequired[EpochState | None]
    best_epoch: int
    best_accuracy: float
    groups: list[dict[str, object]]
    diagonal_lstm: NotRequired[list[str]]
    schedule: dict[str, object]


@dataclass(frozen=True)
class StateLimits:
    """What a trainer accepts as its state.

    Attributes:
        epochs: number of epochs of the recipe.
        steps_per_epoch: number of steps of an epoch.
        best_epoch: the trainer's own best epoch, whose weights need not be restored.
        schedule_types: types of the values in the state of the scheduler.
        nonfinite_buffers: names of the buffers that may have infinite values.
    """

    epochs: int
    steps_per_epoch: int
    best_epoch: int
    schedule_types: Mapping[str, type]
    nonfinite_buffers: frozenset[str]


def require_valid_state(tensors: Mapping[str, Tensor], values: TrainerState, limits: StateLimits) -> None:
    """Raise an error unless a state that was read from a file can be restored.

    Raises:
        ValueError: the trainer cannot have saved this state.
    """
    epoch, best, current = values["epoch"], values[BEST_EPOCH], values.get("under")
    counts: list[object] = [epoch, best, *([current["steps"]] if current else [])]
    if not all(isinstance(count, int) and count >= 0 for count in counts) or not best <= epoch <= limits.epochs:
        raise ValueError("a number of epochs or steps is out of range")
    numbers = [values["best_accuracy"]]
    if current:
        numbers += [current["lr"], current["seconds"], current.get("device_seconds", current["seconds"])]
    if not all(_is_finite_number(number) for number in numbers):
        raise ValueError("a value is not a finite number")
    if current and (current["steps"] > limits.steps_per_epoch or epoch == limits.epochs):
        raise ValueError("it has more steps than the training")
    types = limits.schedule_types
    if not all(isinstance(value, types.get(key, ())) for key, value in values["schedule"].items()):
        raise ValueError("the state of the learning-rate scheduler has another form")
    for name, value in tensors.items():
        part, _, own_name = name.partition("/")
        if part in ("model", "best") and own_name not in limits.nonfinite_buffers and not value.isfinite().all():
            raise ValueError(f"{name} has values that are not finite")
    if not set(values.get(DIAGONAL_LSTM, [])) <= RECORDED:
        raise ValueError("it names an unknown implementation of the diagonal LSTM")
    if limits.best_epoch < best and not any(name.startswith("best/") for name in tensors):
        raise ValueError("the best weights are missing")


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def select_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with the prefix, named without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def get_generator_states(computing: ComputeConfig) -> dict[str, Tensor]:
    """Return the states of the random generators that a step uses, u1, by device."""
    states = {"cpu": torch.get_rng_state()}
    if computing.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(computing.device)
    return states


def set_generator_states(states: Mapping[str, Tensor]) -> None:
    """Restore the states that `get_generator_states` returned. Generators without a state are not changed."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
