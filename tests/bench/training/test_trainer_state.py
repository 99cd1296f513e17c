"""The content of a checkpoint: states that no trainer can have saved are refused."""

from dataclasses import replace

import pytest
import torch

from bench.training.trainer_state import (
    StateLimits,
    get_generator_states,
    require_valid_state,
    select_prefix,
    set_generator_states,
)
from tests.bench.training.helpers import ON_CPU

LIMITS = StateLimits(
    epochs=5, steps_per_epoch=7, best_epoch=0, schedule_types={"last_epoch": int}, nonfinite_buffers=frozenset({"low"})
)
UNDER = {"steps": 3, "lr": 0.1, "seconds": 2.5, "device_seconds": 2.4}
VALUES = {
    "epoch": 2,
    "under": UNDER,
    "best_epoch": 1,
    "best_accuracy": 0.5,
    "groups": [],
    "diagonal_lstm": ["cpu"],
    "schedule": {"last_epoch": 2},
}
TENSORS = {"model/weight": torch.ones(2), "best/weight": torch.ones(2), "model/low": torch.tensor([-torch.inf])}


def test_checkpoints_of_early_versions_and_between_epochs_are_valid():
    require_valid_state(TENSORS, VALUES, LIMITS)
    early = {name: value for name, value in VALUES.items() if name not in ("under", "diagonal_lstm")}
    require_valid_state(TENSORS, early, LIMITS)
    require_valid_state(TENSORS, {**VALUES, "under": {"steps": 3, "lr": 0.1, "seconds": 2.5}}, LIMITS)
    require_valid_state(TENSORS, {**VALUES, "under": None, "epoch": 5}, LIMITS)
    require_valid_state(TENSORS, {**VALUES, "diagonal_lstm": ["amx", "cpu"]}, LIMITS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 6, "under": None}, "a number of epochs or steps is out of range"),
        ({"epoch": -1}, "a number of epochs or steps is out of range"),
        ({"best_epoch": 3}, "a number of epochs or steps is out of range"),
        ({"under": {**UNDER, "steps": -1}}, "a number of epochs or steps is out of range"),
        ({"under": {**UNDER, "steps": 8}}, "more steps than the training"),
        ({"epoch": 5}, "more steps than the training"),
        ({"best_accuracy": float("nan")}, "not a finite number"),
        ({"under": {**UNDER, "lr": "0.1"}}, "not a finite number"),
        ({"under": {**UNDER, "seconds": True}}, "not a finite number"),
        ({"under": {**UNDER, "device_seconds": "2"}}, "not a finite number"),
        ({"schedule": {"last_epoch": 2.0}}, "scheduler has another form"),
        ({"schedule": {"other": 2}}, "scheduler has another form"),
        ({"diagonal_lstm": ["fastest"]}, "unknown implementation of the diagonal LSTM"),
    ],
)
def test_checkpoints_with_impossible_values_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        require_valid_state(TENSORS, {**VALUES, **change}, LIMITS)


@pytest.mark.parametrize("name", ["model/weight", "best/weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_checkpoints_with_weights_that_are_not_finite_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} has values that are not finite"):
        require_valid_state({**TENSORS, name: torch.tensor([1.0, value])}, VALUES, LIMITS)


def test_best_weights_may_miss_in_a_checkpoint_only_if_the_trainer_has_them():
    fewer = {"model/weight": torch.ones(2)}
    with pytest.raises(ValueError, match="the best weights are missing"):
        require_valid_state(fewer, VALUES, LIMITS)
    require_valid_state(fewer, VALUES, replace(LIMITS, best_epoch=1))


def test_tensors_of_a_checkpoint_are_selected_by_prefix():
    assert select_prefix("model/", TENSORS).keys() == {"weight", "low"}
    assert select_prefix("other/", TENSORS) == {}


def test_states_of_random_generators_are_restored():
    states = get_generator_states(ON_CPU)
    first = torch.rand(3)
    set_generator_states({})
    assert not torch.equal(torch.rand(3), first)
    set_generator_states(states)
    assert torch.equal(torch.rand(3), first)
