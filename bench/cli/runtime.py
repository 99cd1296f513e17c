"""The command `bench runtime`: parse, import lazily, make one call, print."""

import logging
from functools import partial
from pathlib import Path

import click

from bench.cli.option_values import ComputeOptions
from bench.cli.options import RECIPE_NAMES, add_compute_options, architecture_option, width_option
from bench.config import MIN_BATCH, MIN_CANVAS, TIMING_ROUNDS
from mnistref.common.click_program import FOLDER, HeadedCommand, headed_option
from mnistref.common.console import emit, emit_json
from mnistref.spec import MAX_CANVAS

_network = partial(headed_option, "Network")
_step = partial(headed_option, "Training step")
_device = partial(headed_option, "Device")
_timing = partial(headed_option, "Timing")
_output = partial(headed_option, "Output")


_BASELINES = "Baselines: san and pan-ctx; none for images without a question."


@click.command("runtime", cls=HeadedCommand, epilog=_BASELINES)
@_network(
    "--attn",
    "attn_lists",
    multiple=True,
    default=["none,arnn"],
    show_default=True,
    metavar="NAMES",
    help="Networks, separated by commas; none+arnn is one network with a list of slots. May be repeated.",
)
@architecture_option
@width_option
@_network(
    "--variant",
    default="mbg",
    show_default=True,
    metavar="NAME",
    help="Variant with the image size and the classes.",
)
@_network(
    "--canvas",
    type=click.IntRange(MIN_CANVAS, MAX_CANVAS),
    metavar="PIXELS",
    help="Side of the images.  [default: the variant's]",
)
@_step(
    "--recipe",
    "recipe_name",
    default="fast",
    show_default=True,
    metavar="NAME",
    help=f"Recipe with the optimizer and the number of images in a step. {RECIPE_NAMES}",
)
@_step("--batch", type=click.IntRange(min=MIN_BATCH), help="Images in a step.  [default: the recipe's]")
@_device("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: PyTorch's choice]")
@add_compute_options
@_timing(
    "--rounds",
    type=click.IntRange(min=1),
    default=TIMING_ROUNDS,
    show_default=True,
    help="Timing rounds. Each round times every network once.",
)
@_output("--json", "as_json", is_flag=True, help="Print JSON.")
@_output("--plot", type=FOLDER, help="Also draw a bar chart to this file: .png, .svg or .pdf.")
def print_runtime(
    attn_lists: tuple[str, ...],
    architecture: str,
    width: int | None,
    variant: str,
    canvas: int | None,
    recipe_name: str,
    batch: int | None,
    threads: int | None,
    compute_options: ComputeOptions,
    rounds: int,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Time training steps and inference.

    The images are random. The networks are timed in turn with the baselines. Prints medians and quartiles of the
    times, their ratios to the baselines, memory, and numerical errors.

    \b
    bench runtime --attn none,arnn,brnn2 --variant mref --batch 50 --threads 2
    bench runtime --attn cbam,cbam-arnn --network resnet18 --width 16 --variant mone --canvas 32
    bench runtime --attn arnn --device cuda --precision bf16 --capture graph --batch 128 --json
    """
    from dataclasses import replace

    import torch

    from bench.attention import split_networks
    from bench.config import get_recipe
    from bench.networks import get_network
    from bench.profiling.benchmark import BASELINES, measure_runtime, resize, to_json, to_text
    from mnistref.common.figure_files import require_figure_name
    from mnistref.variants import get_variant

    if plot:
        require_figure_name(plot)
        from bench.profiling.plot import save_bars
    attns = [attn for attn_list in attn_lists for attn in split_networks(attn_list)]
    network = get_network(architecture)
    network = replace(network, width=width or network.width)
    law = get_variant(variant)
    law = resize(law, canvas) if canvas else law
    recipe, compute_config = get_recipe(recipe_name), compute_options.compute_config
    recipe = replace(recipe, batch=batch or recipe.batch)
    if threads:
        torch.set_num_threads(threads)
    setting, rows = measure_runtime(attns, law, recipe, compute_config, rounds, architecture=network)
    if as_json:
        emit_json(to_json(setting, rows))
    else:
        emit(to_text(setting, rows))
    if plot:
        save_bars(str(setting), rows, BASELINES[law.asks], plot)
        logging.info("wrote %s", plot)
