"""Values of option groups: presets, recipes, folders and names that result from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.option_values import BoardOptions, ComputeOptions, TrainingOptions
from bench.config import DEFAULT_NETWORK, PRESETS, RECIPES
from mnistref.common.errors import UsageProblemError

GIVEN = TrainingOptions(
    recipe_name=None,
    preset_name=None,
    train=None,
    canvas=None,
    queries="one",
    architecture=DEFAULT_NETWORK,
    width=None,
    epochs=None,
    batch=None,
    lr=None,
    fade=None,
    questions=None,
    augment=None,
    dropout=None,
    digits=None,
    backgrounds="builtin",
    online=False,
    stream=None,
    root=Path("data_cache"),
    runs=None,
    threads=None,
    log=None,
    checkpoint_seconds=60,
    timing=True,
)
"""The options of a command without arguments."""


def test_preset_is_quick_for_mini_and_has_the_given_number_of_training_images():
    assert GIVEN.preset("mini") == PRESETS["quick"]
    assert GIVEN.preset("mref").sizes == PRESETS["full"].sizes
    assert replace(GIVEN, train=77).preset("mini").sizes == {**PRESETS["quick"].sizes, "train": 77}
    assert replace(GIVEN, preset_name="full").preset("mini").sizes == PRESETS["full"].sizes


def test_given_values_replace_those_of_the_recipe():
    preset = GIVEN.preset("mref")
    assert GIVEN.recipe(preset) == preset.recipe
    recipe = replace(GIVEN, recipe_name="fast", epochs=3, lr=0.5).recipe(preset)
    assert (recipe.epochs, recipe.lr, recipe.batch) == (3, 0.5, RECIPES["fast"].batch)
    with pytest.raises(UsageProblemError, match="unknown recipe 'fsat'"):
        replace(GIVEN, recipe_name="fsat").recipe(preset)


def test_folders_of_sources_are_absolute_and_names_are_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    data = replace(GIVEN, digits="digits", stream=True).data_options
    assert (data.stream, data.raw, data.digits, data.backgrounds) == (
        True,
        str(tmp_path / "data_cache" / "raw"),
        str(tmp_path / "digits"),
        None,
    )


def test_runs_are_saved_below_the_root_unless_a_folder_is_given():
    assert GIVEN.runs_folder == Path("data_cache/runs")
    assert replace(GIVEN, runs=Path("mine")).runs_folder == Path("mine")


def test_compute_options_are_resolved_or_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = ComputeOptions("auto", "fp32", "auto", deterministic=True).compute_config
    assert (config.device.type, config.precision) == ("cpu", "fp32")
    with pytest.raises(UsageProblemError, match="tf32"):
        _ = ComputeOptions("cpu", "tf32", "auto", deterministic=False).compute_config


def test_names_of_a_board_are_canonical():
    options = BoardOptions(Path("runs"), None, "ctx")
    assert (options.variant_name, options.baseline_name) == (None, "pan-ctx")
    assert replace(options, variant="mref").variant_name == "mref"
    with pytest.raises(UsageProblemError, match="did you mean 'mref'"):
        _ = replace(options, variant="mreff").variant_name
