"""The program `bench` and its smaller commands: parse, import lazily, make one call, print."""

import logging
from functools import partial
from pathlib import Path

import click

from bench.cli.attack import attack
from bench.cli.evaluate import evaluate
from bench.cli.leaderboard import print_leaderboard
from bench.cli.option_values import ComputeOptions
from bench.cli.options import add_compute_options
from bench.cli.report import print_report
from bench.cli.robustness import test
from bench.cli.saliency import saliency
from bench.cli.swap import swap
from bench.cli.sweep import run_sweep
from bench.cli.train import run
from bench.config import MIN_BATCH, RECIPES, TIMING_ROUNDS
from bench.evaluation.columns import STEP_RATIOS
from mnistref.common.click_program import EXISTING, FOLDER, HeadedCommand, headed_option, program
from mnistref.common.console import emit, emit_json, remember_spelling
from mnistref.common.text_table import table

_network = partial(headed_option, "Network")
_step = partial(headed_option, "Training step")
_device = partial(headed_option, "Device")
_timing = partial(headed_option, "Timing")
_output = partial(headed_option, "Output")
_images = partial(headed_option, "Images")
_maps = partial(headed_option, "Maps")
_data = partial(headed_option, "Data")

bench = program("bench", "Train attention mechanisms on the data sets of mnistref, and measure them.")
bench.add_command(run)
bench.add_command(run_sweep)
bench.add_command(evaluate)
bench.add_command(saliency)
bench.add_command(attack)
bench.add_command(swap)
bench.add_command(test)
bench.add_command(print_leaderboard)
bench.add_command(print_report)


@bench.command("list")
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_mechanisms(pattern: str, as_json: bool) -> None:
    """List the mechanisms and their options.

    PATTERN, such as 'ar*', selects by name. In other commands, options follow the name: arnn:hidden=16:context=5.

    \b
    bench list
    bench list 'ar*'
    """
    from fnmatch import fnmatchcase

    from bench.attention import known_mechanisms
    from bench.model import count_parameters
    from mnistref.common.errors import UsageProblemError, did_you_mean

    known = known_mechanisms()
    matching = [
        mechanism
        for mechanism in known.values()
        if any(fnmatchcase(name, pattern) for name in (mechanism.name, *mechanism.aliases))
    ]
    if not matching:
        raise UsageProblemError(f"no mechanism matches {pattern!r}: {did_you_mean(pattern, list(known))}")
    entries = []
    for mechanism in matching:
        try:
            entries.append(mechanism.describe() | {"params": count_parameters(mechanism.name)})
        except UsageProblemError as error:  # a mechanism of another package may fail
            logging.warning("skipped: %s", error)
    if as_json:
        return emit_json(entries)
    rows = [["mechanism", "slots", "parameters", "paper", "what it does", "options"]]
    for entry in entries:
        options = " ".join(f"{name}={value}" for name, value in entry["options"].items())
        rows.append([entry["name"], entry["slots"], f"{entry['params']:,}", entry["paper"], entry["summary"], options])
    return emit(table(rows))


@bench.command()
@click.argument("module")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(module: str, as_json: bool) -> None:
    """Check whether MODULE can be benchmarked.

    MODULE is path/to/file.py:Class, or a name (see `bench list`). Prints the findings, and the verdict in the last
    line; with --json, the verdict is on stderr. Exits with 6 if MODULE cannot be benchmarked. --debug also shows the
    tracebacks of errors in MODULE, on stderr.

    \b
    bench check bench/examples/own_attention.py:Compare
    bench check my_attention.py:MyAttention --debug
    """
    from bench.attention.plugins import require_files_exist

    require_files_exist(module)
    from bench.conformance.checks import describe_verdict
    from bench.conformance.isolation import check_isolated
    from mnistref.common.errors import SummaryProblemError

    findings = check_isolated(module)
    verdict = describe_verdict(findings)
    for finding in findings:
        if finding.traceback:
            logging.getLogger("bench").debug("%s:\n%s", finding.description, finding.traceback)
    first = next((finding for finding in findings if finding.ok is False), None)
    if as_json:
        emit_json([finding.as_dict() for finding in findings])
        if first:
            short = describe_verdict(findings, with_names=False)
            raise SummaryProblemError(f"{module}: {short}; the first: {first.description}: {first.reason}")
        return logging.info("%s: %s", module, verdict)
    marks = {True: "ok", False: "NO", None: "note"}
    lines = [f"{marks[f.ok]:4}  {f.description}{': ' * bool(f.reason)}{f.reason}" for f in findings]
    emit("\n".join([*lines, verdict]))
    if first:
        raise SummaryProblemError(f"{module}: not fit to be benchmarked; the lines that begin with NO have the reasons")
    return None


@bench.command("runtime", cls=HeadedCommand, epilog=f"Baselines: {' and '.join(STEP_RATIOS)}.")
@_network(
    "--attn",
    "attn_lists",
    multiple=True,
    default=["none,arnn"],
    show_default=True,
    metavar="NAMES",
    help="Networks, separated by commas; none+arnn is one network with a list of slots. May be repeated.",
)
@_network(
    "--variant",
    default="mbg",
    show_default=True,
    metavar="NAME",
    help="Variant with the image size and the classes.",
)
@_step(
    "--recipe",
    "recipe_name",
    default="fast",
    show_default=True,
    metavar="|".join(RECIPES),
    help="Recipe with the optimizer and the number of images in a step.",
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
    variant: str,
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
    bench runtime --attn arnn --device cuda --precision bf16 --capture graph --batch 128 --json
    """
    from dataclasses import replace

    import torch

    from bench.attention import resolve_network, split_networks
    from bench.config import DEFAULT_WIDTH, get_recipe
    from bench.model import number_of_stages
    from bench.profiling.benchmark import BASELINES, measure_runtime, to_json, to_text
    from mnistref.common.figure_files import require_figure_name
    from mnistref.variants import get_variant

    if plot:
        require_figure_name(plot)
        from bench.profiling.plot import save_bars
    attns = [attn for attn_list in attn_lists for attn in split_networks(attn_list)]
    stages = number_of_stages(get_variant(variant).canvas)
    networks = [resolve_network(attn, DEFAULT_WIDTH, stages) for attn in attns]
    recipe, compute_config = get_recipe(recipe_name), compute_options.compute_config
    recipe = replace(recipe, batch=batch or recipe.batch)
    if threads:
        torch.set_num_threads(threads)
    setting, rows = measure_runtime(networks, get_variant(variant), recipe, compute_config, rounds)
    if as_json:
        emit_json(to_json(setting, rows))
    else:
        emit(to_text(setting, rows))
    if plot:
        save_bars(str(setting), rows, BASELINES, plot)
        logging.info("wrote %s", plot)


@bench.command(cls=HeadedCommand)
@click.argument("runs", type=EXISTING, metavar="RUN...", nargs=-1, required=True)
@_output(
    "-o",
    "--output",
    type=FOLDER,
    help="File to write: .png, .svg or .pdf.  [default: RUN.png; compared.png for several runs]",
)
@_images(
    "--images",
    type=click.IntRange(min=1),
    help="Number of test images, chosen from small to large digits.  [default: 4; 6 for several runs]",
)
@_images("--image", "indices", type=int, multiple=True, help="Index of a test image to show. May be repeated.")
@_maps(
    "--samples",
    type=int,
    default=1,
    show_default=True,
    help="Number of answers to each image, for mechanisms with random maps.",
)
@_maps(
    "--sigma-scale",
    type=float,
    metavar="X",
    help="Multiply the σ of random maps by X.  [default: 1; 3 for several samples]",
)
@_data(
    "--data",
    type=EXISTING,
    help="Folder of another data set, such as an mbgmulti set for a run on mbg.  [default: the run's]",
)
@_data(
    "--root",
    type=FOLDER,
    default="data_cache",
    show_default=True,
    help="Folder with the data sets of the runs.",
)
@_images(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the choice of images and of the samples.",
)
def show(
    runs: tuple[Path, ...],
    output: Path | None,
    images: int | None,
    indices: tuple[int, ...],
    samples: int,
    sigma_scale: float | None,
    data: Path | None,
    root: Path,
    seed: int,
) -> None:
    """Draw attention maps on test images.

    RUN is the folder of a run. For one run, the picture has the map of every slot and the answer. For several runs, it
    has the product of each run's maps and the answer, side by side. Prints the name of the file.

    \b
    bench show data_cache/runs/mini-arnn-s0-…
    bench show data_cache/runs/mbg-arnn-sampled-s0-… --samples 5 --data data_cache/datasets/mbgmulti-…
    """
    from bench.compute import resolve_compute
    from bench.visualization import attention_maps, comparison
    from bench.visualization.examples import ImageChoice

    resolve_compute("cpu")  # raises if BENCH_DIAGONAL_LSTM names an implementation that does not run on a CPU
    if images and indices:
        raise click.UsageError("give --images or --image, not both")
    if len(runs) > 1 and (samples != 1 or sigma_scale is not None):
        raise click.UsageError("--samples and --sigma-scale work with one run only; omit them, or give one run")
    picture = output or remember_spelling(Path("compared.png" if len(runs) > 1 else f"{runs[0].resolve().name}.png"))
    choice = ImageChoice(images, seed, indices or None)
    if len(runs) > 1:
        comparison.save_comparison(runs, picture, root, data, choice)
    else:
        sampling = attention_maps.SampleOptions(samples, sigma_scale)
        attention_maps.save_picture(runs[0], picture, root=root, data=data, choice=choice, sampling=sampling)
    emit(picture)
