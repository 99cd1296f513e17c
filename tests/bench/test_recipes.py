"""Recipes: those of the papers, and what their names and records hold."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from bench.config import FIRST_RECIPES, RECIPES, Recipe, RunConfig
from bench.training.step import build_optimizer, build_scheduler
from mnistref.spec import canonical_json

BEFORE = {"name", "optimizer", "lr", "batch", "epochs", "schedule", "patience", "clip", "fade", "questions"}
"""Fields of recipes in the records of earlier versions."""


def configured(recipe: Recipe) -> RunConfig:
    return RunConfig("pan", "mini", "mini-000000000000", 0, recipe, "one", "fp32", "cpu")


@pytest.mark.parametrize("name", ["fast", "pan"])
def test_records_and_ids_of_earlier_recipes_have_no_new_fields(name):
    assert set(RECIPES[name].as_dict()) == BEFORE - ({"questions"} if name == "pan" else set())
    assert configured(RECIPES["pan"]).run_id == "mini-pan-s0-" + _digest(RECIPES["pan"].as_dict())


def _digest(recipe: dict) -> str:
    content = {
        "attn": "pan",
        "variant": "mini",
        "dataset": "mini-000000000000",
        "seed": 0,
        "recipe": recipe,
        "queries": "one",
        "precision": "fp32",
        "device": "cpu",
        "capture": "eager",
        "init": None,
        "init_weights": None,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_read_from_its_record(name):
    config = configured(RECIPES[name])
    again = RunConfig.from_dict(json.loads(json.dumps(config.as_dict())))
    again.require_valid()
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize("name", ["cbam-cifar", "ltpa-vgg", "ltpa-vgg-svhn", "ltpa-resnet"])
def test_the_label_of_a_recipe_is_its_name_and_what_differs(name):
    assert RECIPES[name].label == name
    assert replace(RECIPES[name], epochs=20, augment="none").label == f"{name},epochs=20,augment=none"


def rates(name: str, epochs: list[int]) -> list[float]:
    """Return the learning rate of these epochs, numbered from 1."""
    weight = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(RECIPES[name], weight)
    scheduler = build_scheduler(RECIPES[name], optimizer, 10)
    found = []
    for _ in range(max(epochs)):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [found[epoch - 1] for epoch in epochs]


def test_rates_change_after_the_epochs_of_the_papers():
    """cbam-cifar and ltpa-resnet: × 0.2 after 60, 120 and 160. LTPA §A.3: × 0.5 every 25 epochs."""
    for name in ("cbam-cifar", "ltpa-resnet"):
        found = rates(name, [1, 60, 61, 120, 121, 160, 161, 200])
        assert found == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008])
    for name, first in (("ltpa-vgg", 1.0), ("ltpa-vgg-svhn", 0.1)):
        found = rates(name, [1, 25, 26, 50, 51, 300])
        assert found == pytest.approx([first, first, first / 2, first / 2, first / 4, first / 2**11])


def test_the_recipes_have_the_other_values_of_the_papers():
    for name, batch, epochs, augment in (
        ("cbam-cifar", 128, 200, "flip+crop"),
        ("ltpa-vgg", 128, 300, "flip"),
        ("ltpa-vgg-svhn", 128, 300, "flip"),
        ("ltpa-resnet", 64, 200, "flip+crop"),
    ):
        recipe = FIRST_RECIPES[name]
        assert (recipe.batch, recipe.epochs, recipe.augment, recipe.clip) == (batch, epochs, augment, None)
        optimizer = build_optimizer(recipe, torch.nn.Linear(1, 1))
        assert isinstance(optimizer, torch.optim.SGD)
        group = optimizer.param_groups[0]
        assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, 5e-4, name == "ltpa-resnet")


def test_short_versions_have_one_cycle_and_the_augmentation_of_the_papers():
    for name in ("cbam-cifar", "ltpa-vgg", "ltpa-vgg-svhn", "ltpa-resnet"):
        short = RECIPES[f"{name}-fast"]
        assert short.label == f"{name}-fast"
        assert (short.schedule, short.augment) == ("onecycle", RECIPES[name].augment)
        assert short.epochs <= RECIPES[name].epochs / 10


@pytest.mark.parametrize(("questions", "most"), [("one", None), ("all", 9), (3, 3)])
def test_the_number_of_questions_about_an_image_has_a_maximum(questions, most):
    assert replace(RECIPES["fast"], questions=questions).max_questions(9) == most


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw"},
        {"augment": "mirror"},
        {"dropout": 1.0},
        {"momentum": 1.0},
        {"nesterov": True, "momentum": 0.0},
        {"lr": 1.5},
        {"lr": 0.0},
        {"lr": "0.1"},
        {"weight_decay": -1},
        {"weight_decay": 1.5},
        {"milestones": (0,)},
        {"factor": 0.0},
        {"clip": 0},
    ],
)
def test_values_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        configured(replace(RECIPES["cbam-cifar"], **changes)).require_valid()
