"""Runs → the shell command that does them again: the data set made, and each seed trained on it. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from bench.config import DEFAULT_WIDTH, RECIPES, Recipe, RunConfig

ROOT = "data_cache"
_CHANGEABLE = ("epochs", "batch", "lr", "fade", "questions")
_ALWAYS = ("epochs", "batch", "questions")
"""Options that a command names even where the recipe has the same value: its meaning outlives the recipe's defaults."""


def command_of(
    config: RunConfig, request: Mapping[str, Any], seeds: Sequence[int], init_runs: Sequence[str] = ()
) -> str | None:
    """One line for a POSIX shell: `mnistref generate …` and `bench run …`, of every seed.

    Args:
        config: of one of the runs, which differ in nothing but the seed and the run that they start from.
        request: how the data set is made, as `generate.request_of`. Sources that were folders of the user's
            are named as DIGITS and PHOTOS, for the user to replace.
        seeds: of the runs.
        init_runs: names of the runs that they start from, in the order of the seeds, if they do.

    Returns:
        None where no command can say it: a recipe that differs from the known ones in more than options can change.
    """
    recipe = _recipe(config.recipe)
    if recipe is None:
        return None
    options = [*_network(config), "--data", f"{ROOT}/datasets/{config.dataset}", *recipe, *_how(config)]
    words = " ".join(shlex.quote(word) for word in ["bench", "run", *options])
    if init_runs:
        runs = [
            f"{words} --seed {seed} --init {shlex.quote(f'{ROOT}/runs/{init}')}"
            for seed, init in zip(seeds, init_runs, strict=True)
        ]
        return " && ".join([_generate(request), *runs])
    if len(seeds) == 1:
        return f"{_generate(request)} && {words} --seed {seeds[0]}"
    return f"{_generate(request)} && for seed in {' '.join(map(str, seeds))}; do {words} --seed $seed; done"


def _network(config: RunConfig) -> list[str]:
    """A class of the user's own without the digest of its file: whose path only the user knows."""
    width = ["--width", str(config.width)] if config.width != DEFAULT_WIDTH else []
    return ["--attn", re.sub(r"#[0-9a-f]+", "", config.attn), *width]


def _recipe(recipe: Recipe) -> list[str] | None:
    known, options = RECIPES[recipe.name], ["--recipe", recipe.name]
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        if value == getattr(known, field.name) and field.name not in _ALWAYS:
            continue
        if field.name not in _CHANGEABLE:
            return None
        options += [f"--{field.name}", str(value)]
    return options


def _how(config: RunConfig) -> list[str]:
    options = ["--queries", config.queries, "--device", config.device]
    options += ["--precision", config.precision, "--capture", config.capture]
    return options + [f"--{name}" for name in ("online", "deterministic") if getattr(config, name)]


def _generate(request: Mapping[str, Any]) -> str:
    options = ["--variant", request["variant"], "--seed", request["seed"]]
    for split, images in request["sizes"].items():
        options += [f"--{split}", images]
    options += ["--digits", request["digits"] or "DIGITS", "--backgrounds", request["backgrounds"] or "PHOTOS"]
    options += ["--pool", request["pool"], *(["--any-digits"] if request.get("any_digits") else []), "--root", ROOT]
    return " ".join(shlex.quote(str(word)) for word in ["mnistref", "generate", *options])
