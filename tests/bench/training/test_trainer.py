"""The training loop: schedules, limits and stopping."""

import math
from dataclasses import replace

import pytest
import torch

from bench.config import RECIPES, Recipe, get_recipe
from bench.evaluation import evaluate
from bench.training.trainer import DivergedError, Trainer
from tests.bench.training.helpers import SHORT, trainer_for


def test_training_lowers_the_loss_and_keeps_the_best_weights(mini):
    trainer = trainer_for(mini, Recipe("fast", "adam", 0.003, 20, 6, "onecycle"))
    records = list(trainer.epochs())
    assert [r["epoch"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["train_loss"] < records[0]["train_loss"] - 0.1
    best = max(records, key=lambda r: r["val_accuracy"])
    assert trainer.best_accuracy == best["val_accuracy"]
    assert trainer.best_epoch == best["epoch"]
    trainer.model.load_state_dict(trainer.best_weights)
    assert evaluate.accuracy(trainer.model, trainer.val, trainer.batch) == trainer.best_accuracy


def test_training_is_deterministic_for_a_seed(mini):
    runs = [trainer_for(mini) for _ in range(2)]
    records = [[{**r, "seconds": 0, "device_seconds": 0} for r in run.epochs()] for run in runs]
    assert records[0] == records[1]
    for a, b in zip(*(run.model.state_dict().values() for run in runs), strict=True):
        assert torch.equal(a, b)
    other = [{**r, "seconds": 0, "device_seconds": 0} for r in trainer_for(mini, seed=1).epochs()]
    assert other != records[0]


def learning_rates(recipe: Recipe, mini) -> list[float]:
    """Return the learning rate of each epoch, without training the network."""
    trainer = trainer_for(mini, recipe, attn="none")

    def idle(current, on_step):
        current.sums[3] = 1
        trainer.optimizer.step()
        trainer.scheduler.step()

    trainer._train_epoch = idle
    return [record["lr"] for record in trainer.epochs()]


def test_the_pan_recipe_divides_the_rate_at_31_and_every_12_epochs(mini):
    rates = learning_rates(replace(RECIPES["pan"], epochs=60), mini)
    for epoch, rate in enumerate(rates, start=1):
        drops = sum(epoch >= at for at in (31, 43, 55))
        assert rate == pytest.approx(0.003 / 1.5**drops), epoch


def test_rmsprop_has_the_constants_of_the_paper(mini):
    group = trainer_for(mini, get_recipe("pan"), attn="none").optimizer.param_groups[0]
    assert (group["alpha"], group["eps"]) == (0.9, 1e-6)


def test_one_cycle_schedule_rises_to_the_peak_and_falls_to_zero(mini):
    trainer, rates = trainer_for(mini, attn="none"), []
    list(trainer.epochs(on_step=lambda: rates.append(trainer.optimizer.param_groups[0]["lr"])))
    assert len(rates) == 3 * (400 // 32)
    assert max(rates) == pytest.approx(0.003, rel=1e-3)
    assert rates[-1] < 0.01 * max(rates)


def test_training_stops_when_patience_is_over(mini, monkeypatch):
    values = iter([0.3, 0.5, 0.4, 0.5, 0.2, 0.9])
    monkeypatch.setattr("bench.training.trainer.accuracy", lambda *_: next(values))
    trainer = trainer_for(mini, Recipe("pan", "rmsprop", 0.003, 200, 6, "steps", patience=3), attn="none")
    assert len(list(trainer.epochs())) == 5
    assert (trainer.best_epoch, trainer.best_accuracy) == (2, 0.5)


def test_training_clips_gradients(mini, monkeypatch):
    norms = []
    original = torch.nn.utils.clip_grad_norm_

    def spy(parameters, limit):
        parameters = list(parameters)
        total = original(parameters, limit)
        norms.append((limit, float(torch.stack([p.grad.norm() for p in parameters]).norm())))
        return total

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    trainer = trainer_for(mini, Recipe("fast", "adam", 0.003, 32, 1, "onecycle", clip=0.01))
    list(trainer.epochs())
    assert all(limit == 0.01 and norm < 0.0101 for limit, norm in norms)


def test_nan_loss_ends_the_run(mini):
    trainer = trainer_for(mini, Recipe("fast", "rmsprop", lr=math.inf, batch=32, epochs=2, schedule="steps"))
    with pytest.raises(DivergedError, match="epoch 1"):
        list(trainer.epochs())


def spoil_the_gradient(trainer: Trainer) -> None:
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * math.nan)


def spoil_the_loss(trainer: Trainer) -> None:
    trainer.model.head.classify.register_forward_hook(lambda module, given, out: out * math.inf)


@pytest.mark.parametrize("spoil", [spoil_the_gradient, spoil_the_loss])
def test_nan_gradient_or_loss_ends_the_run_in_the_same_step(spoil, mini):
    trainer, steps = trainer_for(mini), []

    def on_step():
        steps.append(1)
        if len(steps) == 5:
            spoil(trainer)

    with pytest.raises(DivergedError, match=r"epoch 1, step 6 of 12"):
        list(trainer.epochs(on_step))
    assert len(steps) == 5


def test_nan_weight_ends_the_run(mini):
    """The weight is unused, so loss and gradient are finite."""
    trainer = trainer_for(mini)
    trainer.model.register_parameter("idle", torch.nn.Parameter(torch.tensor(math.nan)))
    with pytest.raises(DivergedError, match="a weight"):
        next(trainer.epochs())


def test_the_background_fades_in_over_the_first_steps(mini):
    trainer = trainer_for(mini, replace(SHORT, fade=0.5))  # 3 epochs have 12 steps each
    brightness = []
    for trainer.epoch in range(3):
        brightness += [trainer._background_brightness(step) for step in range(12)]
    assert brightness[:18] == [k / 18 for k in range(18)]
    assert brightness[18:] == [1.0] * 18
    assert trainer_for(mini)._background_brightness(0) == 1.0
    assert replace(SHORT, fade=0.5).label == "fast,batch=32,epochs=3,fade=0.5"


def test_incomplete_batches_are_dropped_and_a_small_data_set_is_one_batch(mini):
    assert trainer_for(mini, Recipe("fast", "adam", 0.003, 150, 1, "onecycle")).steps_per_epoch == 2
    few = trainer_for(mini, Recipe("fast", "adam", 0.003, 500, 1, "onecycle"))
    assert (few.batch, few.steps_per_epoch) == (400, 1)
    assert len(list(few.epochs())) == 1


@pytest.mark.parametrize("attn", ["pan", "arnn"])
def test_networks_train_in_half_precision(attn, make):
    few = make("mini", sizes={"train": 60, "val": 20, "test": 20})  # it is slow without instructions for it
    trainer = trainer_for(few, replace(SHORT, epochs=1), attn, precision="bf16")
    records = list(trainer.epochs())
    assert all(math.isfinite(r["train_loss"]) for r in records)
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
