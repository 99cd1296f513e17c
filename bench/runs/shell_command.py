"""The shell command that reproduces runs: it generates the data set, and trains a network with each seed. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields

from bench.config import DEFAULT_NETWORK, DEFAULT_WIDTH, EVALUATED, RECIPES, Recipe, RunConfig
from bench.tasks.variant_names import has_questions
from mnistref.spec_records import RequestRecord
from mnistref.variants import options_of_changes

ROOT = "data_cache"
DIGITS, PHOTOS = "DIGITS", "PHOTOS"
"""Placeholders for folders of the user."""
_CHANGEABLE = ("epochs", "batch", "lr", "fade", "questions", "augment", "dropout")
_ALWAYS = ("epochs", "batch", "questions")
"""Options that a command contains even if they equal the recipe's value, because recipes may change later."""
_DEFAULT_QUERIES = "one"
"""A command for images without a question has the options `--queries` and `--questions` only if their values differ
from this one and from the recipe's."""


def build_command(
    config: RunConfig, request: RequestRecord, seeds: Sequence[int], init_runs: Sequence[str] = ()
) -> str | None:
    """Return one line for a POSIX shell: `mnistref generate …`, then `bench run …` for every seed.

    For a model that was only tested, the second command is `bench evaluate …`.

    Args:
        config: the configuration of one of the runs. The others differ only in the seed and the initial weights.
        request: how the data set is generated, see `mnistref.generation.generate.request_of`. For folders of the user,
            the command has the placeholders DIGITS and PHOTOS.
        seeds: the seeds of the runs.
        init_runs: names of the runs with the initial weights, in the order of the seeds; empty if there are none.

    Returns:
        None if the recipe differs from all known recipes in a value that has no option.
    """
    if "task" in request:
        return _task_command(config, request, seeds, init_runs)
    asks = has_questions(request["variant"])
    data = f"{ROOT}/datasets/{config.dataset}"
    if config.recipe == EVALUATED:
        command = ["bench", "evaluate", *_model_arguments(config), "--data", data, *_test_options(config, asks)]
    else:
        recipe = _recipe_options(config.recipe, asks)
        if recipe is None:
            return None
        options = [*_network_options(config), "--data", data, *recipe, *_computing_options(config, asks)]
        options += _source_options(request) if config.online else []
        command = ["bench", "run", *options]
    words = " ".join(map(shlex.quote, command))
    if init_runs:
        runs = [
            f"{words} --seed {seed} --init {shlex.quote(f'{ROOT}/runs/{init}')}"
            for seed, init in zip(seeds, init_runs, strict=True)
        ]
        return " && ".join([build_generate_command(request), *runs])
    if len(seeds) == 1:
        return f"{build_generate_command(request)} && {words} --seed {seeds[0]}"
    return (
        f"{build_generate_command(request)} && for seed in {' '.join(map(str, seeds))}; do {words} --seed $seed; done"
    )


def _task_command(
    config: RunConfig, request: Mapping[str, object], seeds: Sequence[int], init_runs: Sequence[str]
) -> str | None:
    """Return the command for runs on a task, which it prepares; see `build_command`."""
    task = [str(request["task"]), "--canvas", str(request["canvas"]), "--root", ROOT]
    if config.recipe == EVALUATED:
        command = ["bench", "evaluate", *_model_arguments(config), "--data", *task, *_test_options(config, asks=False)]
    else:
        recipe = _recipe_options(config.recipe, asks=False)
        if recipe is None:
            return None
        options = [*recipe, *_computing_options(config, asks=False)]
        command = ["bench", "run", *_network_options(config), "--task", *task, *options]
    words = " ".join(map(shlex.quote, command))
    if init_runs:
        starts = [f"{ROOT}/runs/{init}" for init in init_runs]
        runs = [f"{words} --seed {seed} --init {shlex.quote(s)}" for seed, s in zip(seeds, starts, strict=True)]
        return " && ".join(runs)
    if len(seeds) == 1:
        return f"{words} --seed {seeds[0]}"
    return f"for seed in {' '.join(map(str, seeds))}; do {words} --seed $seed; done"


def _network_options(config: RunConfig) -> list[str]:
    """Return the options of the network. User classes have no digest, because the user has to insert their paths."""
    attn, other = ["--attn", re.sub(r"#[0-9a-f]+", "", config.attn)], config.network != DEFAULT_NETWORK
    network = ["--network", config.network] if other else []
    return [*attn, *network, *(["--width", str(config.width)] if other or config.width != DEFAULT_WIDTH else [])]


def _model_arguments(config: RunConfig) -> list[str]:
    """Return the model of `bench evaluate`. The user has to insert the path; of a named model, FILE.py:FUNCTION too."""
    name = re.sub(r"#[0-9a-f]+$", "", config.attn)
    return [name] if ".py:" in name else ["FILE.py:FUNCTION", "--name", name]


def _test_options(config: RunConfig, asks: bool) -> list[str]:
    queries = ["--queries", config.queries] if asks or config.queries != _DEFAULT_QUERIES else []
    return [*queries, "--device", config.device]


def _recipe_options(recipe: Recipe, asks: bool) -> list[str] | None:
    """Return the options of a recipe; None if it has a value that has no option.

    Args:
        recipe: the recipe.
        asks: whether the images come with questions. Otherwise, the number of questions of a step is left out if it is
            the recipe's own.
    """
    known, options = RECIPES[recipe.name], ["--recipe", recipe.name]
    always = [name for name in _ALWAYS if asks or name != "questions"]
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        if value == getattr(known, field.name) and field.name not in always:
            continue
        if field.name not in _CHANGEABLE:
            return None
        options += [f"--{field.name}", str(value)]
    return options


def _computing_options(config: RunConfig, asks: bool) -> list[str]:
    options = [*_test_options(config, asks), "--precision", config.precision, "--capture", config.capture]
    return options + [f"--{name}" for name in ("online", "deterministic") if getattr(config, name)]


def _source_options(request: RequestRecord) -> list[str]:
    """Return the options that name folders of the user, from which `--online` makes new images."""
    places = (("--digits", request["digits"], DIGITS), ("--backgrounds", request["backgrounds"], PHOTOS))
    return [word for option, source, placeholder in places if source is None for word in (option, placeholder)]


def build_generate_command(request: RequestRecord) -> str:
    """Return the command that generates a data set, with placeholders for folders of the user.

    Args:
        request: how the data set is generated, see `mnistref.generation.generate.request_of`.
    """
    options: list[object] = ["--variant", request["variant"], "--seed", request["seed"]]
    for split, images in request["sizes"].items():
        options += [f"--{split}", images]
    options += ["--digits", request["digits"] or DIGITS, "--backgrounds", request["backgrounds"] or PHOTOS]
    flags = [f"--{name.replace('_', '-')}" for name in ("any_digits", "skip_bad", "keep_copies") if request.get(name)]
    options += ["--pool", request["pool"], *flags, "--root", ROOT]
    options += options_of_changes(request)
    return " ".join(shlex.quote(str(word)) for word in ["mnistref", "generate", *options])
