"""Presets and recipes, and the choice of a recipe."""

from dataclasses import replace

import pytest

from bench.config import FIRST_RECIPES, PRESETS, RECIPES, RecipeOverrides, choose_recipe, get_recipe
from mnistref.common.errors import UsageProblemError


def test_presets_name_existing_recipes_and_mechanisms():
    from mnistref.variants import VARIANTS

    for preset in PRESETS.values():
        assert preset.variant in VARIANTS
        assert preset.recipe.name in RECIPES
        assert set(preset.sizes) == set(VARIANTS[preset.variant].splits)


def test_pan_recipe_has_the_values_of_the_paper():
    recipe = RECIPES["pan"]
    assert (recipe.optimizer, recipe.lr, recipe.batch, recipe.epochs, recipe.patience, recipe.clip) == (
        "rmsprop", 0.003, 200, 300, 50, 5.0,
    )  # fmt: skip


def test_unknown_recipe_is_a_usage_error():
    with pytest.raises(UsageProblemError, match="did you mean 'fast'"):
        get_recipe("fats")


def test_label_of_a_recipe_names_changed_values():
    assert FIRST_RECIPES["fast"].label == "fast"
    assert get_recipe("fast").label == "fast,batch=32,epochs=3,questions=all"
    assert replace(RECIPES["pan"], epochs=7, lr=0.1).label == "pan,lr=0.1,epochs=7"


def test_user_options_override_the_preset():
    quick = PRESETS["quick"]
    assert choose_recipe(quick) == quick.recipe
    assert choose_recipe(quick, "pan") == RECIPES["pan"]
    assert choose_recipe(quick, None, RecipeOverrides(epochs=9)) == replace(quick.recipe, epochs=9)
    overrides = RecipeOverrides(batch=16, lr=0.001)
    assert choose_recipe(quick, None, overrides).label == "fast,lr=0.001,batch=16,epochs=4,questions=all"
