"""Groups of options that several commands of `bench` share."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial, wraps

import click

from bench.cli.option_values import BoardOptions, ComputeOptions, RunOptions, TrainingOptions
from bench.cli.values import Number, QuestionCount, TaskName
from bench.config import (
    AUGMENTATIONS,
    CAPTURES,
    CHECKPOINT_SECONDS,
    DEFAULT_BASELINE,
    DEFAULT_NETWORK,
    DEFAULT_PRESET,
    DEVICES,
    LOGS,
    MAX_WIDTH,
    MIN_BATCH,
    PRECISIONS,
    PRESETS,
    RECIPES,
    Recipe,
)
from mnistref.common.click_program import EXISTING, FOLDER, Choice, Command, headed_option
from mnistref.common.text_table import table
from mnistref.spec import UNITS


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


def describe_presets() -> str:
    """Return the presets as a paragraph of the help."""
    rows = [
        [name, f"{preset.sizes['train']:,} images of {preset.variant}, {preset.digits}, {_describe(preset.recipe)}"]
        for name, preset in PRESETS.items()
    ]
    return "\b\nPresets:\n" + "\n".join(f"  {line}" for line in table(rows).splitlines())


def _describe(recipe: Recipe) -> str:
    return f"recipe {recipe.name}, {'up to ' * bool(recipe.patience)}{recipe.epochs} epochs"


FAST_ENDING = "-fast"
_WITH_FAST = [name for name in RECIPES if name + FAST_ENDING in RECIPES]
_OTHERS = [name for name in RECIPES if name.removesuffix(FAST_ENDING) not in _WITH_FAST]
RECIPE_NAMES = f"Recipes: {', '.join(_OTHERS)}; {', '.join(_WITH_FAST)}, and each of these with {FAST_ENDING}."
"""The names of all recipes, as one sentence."""

_network = partial(headed_option, "Network")
architecture_option = _network(
    "--network",
    "architecture",
    metavar="NAME",
    default=DEFAULT_NETWORK,
    show_default=True,
    help="The network around the mechanisms; see `bench list`.",
)
width_option = _network(
    "--width",
    type=click.IntRange(1, MAX_WIDTH),
    metavar="N",
    help="Channels of the first stage.  [default: that of the network, see `bench list`]",
)
data_option = partial(headed_option, "Data (defaults: those of the preset)")
training_option = partial(headed_option, "Training (defaults: those of the recipe)")
_device = partial(headed_option, "Device")
_output = partial(headed_option, "Output")

add_run_options = _option_group(
    RunOptions,
    "run_options",
    [
        _network("--attn", metavar="NAME", help="A name, a slot list (none,arnn), or file.py:Class; see `bench list`."),
        _network("--init", type=EXISTING, metavar="RUN", help="Start from the weights of this run."),
        data_option("--variant", metavar="NAME", help="Variant; see `mnistref list`."),
        data_option("--task", type=TaskName(), help="Task, instead of --variant."),
        data_option("--data", type=EXISTING, help="Folder of an existing data set, instead of --variant."),
        training_option(
            "--seed",
            type=click.IntRange(0, 2**31 - 1),
            metavar="N",
            default=0,
            show_default=True,
            help="Seed of weights, order and dropout.",
        ),
    ],
)

add_board_options = _option_group(
    BoardOptions,
    "board_options",
    [
        click.option("--runs", type=EXISTING, default="data_cache/runs", show_default=True, help="Folder of the runs."),
        click.option("--variant", metavar="NAME", help="Only runs on this variant or task.  [default: all]"),
        click.option(
            "--baseline",
            metavar="NAME",
            default=DEFAULT_BASELINE,
            help=f"Network to which differences are computed.  [default: {DEFAULT_BASELINE}; none without questions]",
        ),
    ],
)

add_compute_options = _option_group(
    ComputeOptions,
    "compute_options",
    [
        _device(
            "--device",
            type=Choice(DEVICES),
            default="auto",
            show_default=True,
            help="auto: CUDA if there is a device.",
        ),
        _device(
            "--precision",
            type=Choice(PRECISIONS),
            default="fp32",
            show_default=True,
            help="tf32: CUDA only; bf16: autocast.",
        ),
        _device(
            "--capture",
            type=Choice(["auto", *CAPTURES]),
            default="auto",
            show_default=True,
            help="graph: steps as a CUDA graph; auto: if possible.",
        ),
        _device("--deterministic", is_flag=True, help="Use only CUDA operations that give the same bits each time."),
    ],
)

add_training_options = _option_group(
    TrainingOptions,
    "training_options",
    [
        architecture_option,
        width_option,
        data_option(
            "--preset",
            "preset_name",
            type=Choice(list(PRESETS)),
            help=f"Sizes of the data set, and recipe; see below.  [default: {DEFAULT_PRESET}; quick for mini]",
        ),
        data_option("--train", type=click.IntRange(min=2), metavar="N", help="Training images."),
        data_option(
            "--canvas",
            type=click.IntRange(min=1),
            metavar="PIXELS",
            help="Side of the images of a task.  [default: its own]",
        ),
        data_option("--digits", help="Digits, as in `mnistref generate`."),
        data_option(
            "--backgrounds", default="builtin", show_default=True, help="Backgrounds, as in `mnistref generate`."
        ),
        data_option(
            "--queries",
            type=Choice(UNITS),
            default="one",
            show_default=True,
            help="Questions of each split: one an image, all, or as in PAN's program. With one, a training step "
            "still has the number of --questions.",
        ),
        data_option("--online", is_flag=True, help="Generate new training images for every epoch."),
        data_option(
            "--stream/--resident",
            default=None,
            help="Read images from disk, or load them.  [default: load if they fit]",
        ),
        data_option(
            "--root", type=FOLDER, default="data_cache", show_default=True, help="Folder of data sets and sources."
        ),
        training_option(
            "--recipe",
            "recipe_name",
            metavar="NAME",
            help=f"How to train; replaces the recipe of the preset. {RECIPE_NAMES}",
        ),
        training_option(
            "--epochs",
            type=click.IntRange(min=1),
            metavar="N",
            help="Maximal number of epochs.",
        ),
        training_option(
            "--batch",
            type=click.IntRange(min=MIN_BATCH),
            metavar="N",
            help="Images in a step.",
        ),
        training_option(
            "--questions",
            type=QuestionCount(),
            metavar=QuestionCount.name,
            help="Questions about each image in a step. An image with fewer questions has some of them twice.",
        ),
        training_option("--lr", type=Number(0, 1, min_open=True), metavar="X", help="Peak learning rate."),
        training_option("--augment", type=Choice(AUGMENTATIONS), help="Random changes of training images."),
        training_option(
            "--dropout",
            type=Number(0, 1, max_open=True),
            metavar="P",
            help="Probability of all dropout layers.  [default: those of the network]",
        ),
        training_option(
            "--fade",
            type=Number(0, 1),
            metavar="SHARE",
            help="Share of the steps in which backgrounds brighten from black.  [default: 0]",
        ),
        training_option(
            "--checkpoint-every",
            "checkpoint_seconds",
            type=Number(min=0),
            default=CHECKPOINT_SECONDS,
            show_default=True,
            metavar="SECONDS",
            help="Interval of checkpoints within an epoch; 0: every step.",
        ),
        _device(
            "--threads",
            type=click.IntRange(min=1),
            metavar="N",
            help="CPU threads of a run.  [default: PyTorch's choice]",
        ),
        _output("--runs", type=FOLDER, help="Folder to save runs in.  [default: ROOT/runs]"),
        _output(
            "--timing/--no-timing", default=True, help="Time a step and inference after the test.  [default: timing]"
        ),
        _output("--log", type=Choice(LOGS), help="Also write event files."),
    ],
)
