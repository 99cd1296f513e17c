"""Groups of options that several commands of `bench` share."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps

import click

from bench.cli.option_values import BoardOptions, ComputeOptions, RunOptions, TrainingOptions
from bench.cli.values import Number, Questions
from bench.config import (
    CAPTURES,
    CHECKPOINT_SECONDS,
    DEFAULT_BASELINE,
    DEFAULT_WIDTH,
    DEVICES,
    LOGS,
    MAX_WIDTH,
    MIN_BATCH,
    PRECISIONS,
    PRESETS,
    RECIPES,
)
from mnistref.common.click_program import EXISTING, FOLDER

Command = Callable[..., object]


def _option_group(
    group: type, argument: str, options: Sequence[Callable[[Command], Command]]
) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command and passes their values as one argument.

    Args:
        group: a dataclass whose fields are the parameter names of the options.
        argument: name of the command's argument.
        options: decorators made by `click.option`.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(**values: object) -> object:
            grouped = group(**{field.name: values.pop(field.name) for field in fields(group)})
            return command(**values, **{argument: grouped})

        decorated: Command = call
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _describe_recipes() -> str:
    """Return one clause about each recipe, for the help."""
    clauses = [
        f"{name}: optimizer {recipe.optimizer}, learning-rate schedule {recipe.schedule}, {recipe.questions} "
        f"question{'s' * (recipe.questions != 'one')} about each image in a step"
        for name, recipe in RECIPES.items()
    ]
    return "; ".join(clauses) + "."


def _describe_presets() -> str:
    """Return one clause about each preset, for the help."""
    clauses = [
        f"{name}: {preset.variant} with {preset.sizes['train']:,} training images, digits of {preset.digits}, recipe "
        f"{preset.recipe.name}"
        for name, preset in PRESETS.items()
    ]
    return "; ".join(clauses) + "."


add_run_options = _option_group(
    RunOptions,
    "run_options",
    [
        click.option(
            "--attn",
            metavar="NAME",
            help="Network: a name (see `bench list`), a list of slots (none,arnn), or file.py:Class. Required without "
            "--config.",
        ),
        click.option(
            "--variant", metavar="NAME", help="Variant of the data set (see `mnistref list`).  [default: the preset's]"
        ),
        click.option("--data", type=EXISTING, help="Folder of an existing data set (not with --variant)."),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**31 - 1),
            default=0,
            show_default=True,
            help="Seed of the weights, the order of the data and dropout.",
        ),
        click.option(
            "--init",
            type=FOLDER,
            metavar="RUN",
            help="Folder of a run whose weights this run starts from, such as a run on an easier variant. Weights "
            "whose shapes differ are initialised at random.",
        ),
    ],
)

add_board_options = _option_group(
    BoardOptions,
    "board_options",
    [
        click.option("--runs", type=FOLDER, default="data_cache/runs", show_default=True, help="Folder of the runs."),
        click.option("--variant", metavar="NAME", help="Only runs on this variant.  [default: all variants]"),
        click.option(
            "--baseline",
            metavar="NAME",
            default=DEFAULT_BASELINE,
            show_default=True,
            help="Network to which differences are computed.",
        ),
    ],
)

add_compute_options = _option_group(
    ComputeOptions,
    "compute_options",
    [
        click.option(
            "--device",
            type=click.Choice(DEVICES),
            default="auto",
            show_default=True,
            help="auto is CUDA if a CUDA device is available.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="fp32",
            show_default=True,
            help="tf32 rounds the factors of matrix products and convolutions (CUDA only); bf16 uses autocast.",
        ),
        click.option(
            "--capture",
            type=click.Choice(["auto", *CAPTURES]),
            default="auto",
            show_default=True,
            help="graph records the forward pass and the gradients of a step as a CUDA graph (CUDA only). auto is "
            "graph if the run supports it; otherwise it is eager, and a message says why.",
        ),
        click.option(
            "--deterministic",
            is_flag=True,
            help="Give the same bits each time on CUDA. A CPU always does.",
        ),
    ],
)

add_training_options = _option_group(
    TrainingOptions,
    "training_options",
    [
        click.option(
            "--recipe",
            "recipe_name",
            metavar="|".join(RECIPES),
            help=f"Training recipe. {_describe_recipes()}  [default: the preset's]",
        ),
        click.option(
            "--preset",
            "preset_name",
            type=click.Choice(list(PRESETS)),
            default="paper",
            show_default=True,
            help=f"Default variant, sizes, digits and recipe. {_describe_presets()}",
        ),
        click.option(
            "--queries",
            type=click.Choice(["one", "all", "author"]),
            default="one",
            show_default=True,
            help="Which questions about each image are used, in every split. one: a single one, drawn at random when "
            "the data set was generated. all: every one. author: as in PAN's program, the first of all, as many as "
            "there are images. With --questions K or all, a training step takes several questions about an image, so "
            "in training one means all.",
        ),
        click.option(
            "--width",
            type=click.IntRange(1, MAX_WIDTH),
            default=DEFAULT_WIDTH,
            show_default=True,
            help="Channels of each convolution.",
        ),
        click.option("--epochs", type=click.IntRange(min=1), help="Maximal number of epochs.  [default: the recipe's]"),
        click.option("--batch", type=click.IntRange(min=MIN_BATCH), help="Images in a step.  [default: the recipe's]"),
        click.option(
            "--questions",
            type=Questions(),
            metavar=Questions.name,
            help="Questions about each image in a step: K, or all of the image's digits; one gives each question its "
            "own image.  [default: the recipe's]",
        ),
        click.option(
            "--lr",
            type=Number(0, 1, min_open=True),
            help="Peak of the learning rate's schedule.  [default: the recipe's]",
        ),
        click.option(
            "--fade",
            type=Number(0, 1),
            help="Share of the training steps during which the background brightens from black to normal; needs the "
            "training masks.  [default: the recipe's]",
        ),
        click.option(
            "--digits",
            help="Digits for a missing data set, as in `mnistref generate`.  [default: the preset's]",
        ),
        click.option(
            "--backgrounds",
            default="builtin",
            show_default=True,
            help="Backgrounds for a missing data set, as in `mnistref generate`.",
        ),
        click.option(
            "--online",
            is_flag=True,
            help="Generate new training images for every epoch, by the data set's sampling law.",
        ),
        click.option(
            "--stream/--resident",
            default=None,
            help="Read images from the disk during training, or load them before it.  [default: load them if they fit "
            "into memory]",
        ),
        click.option(
            "--root", type=FOLDER, default="data_cache", show_default=True, help="Folder of data sets and sources."
        ),
        click.option("--runs", type=FOLDER, help="Folder to save runs in.  [default: ROOT/runs]"),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Number of CPU threads of each run.  [default: PyTorch's; a sweep divides the processors of this "
            "machine among its workers]",
        ),
        click.option("--log", type=click.Choice(LOGS), help="Also write TensorBoard event files to the run's folder."),
        click.option(
            "--checkpoint-every",
            "checkpoint_seconds",
            type=Number(min=0),
            default=CHECKPOINT_SECONDS,
            show_default=True,
            metavar="SECONDS",
            help="Write a checkpoint after each epoch, and when the last one is SECONDS old. Only the last checkpoint "
            "is kept. 0 writes one after each step.",
        ),
    ],
)
