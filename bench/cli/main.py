"""The commands of `bench`: parse, import lazily, make one call, print."""

import logging
from pathlib import Path

import click

from bench.cli.leaderboard import print_leaderboard
from bench.cli.options import ComputingOptions, computing_options
from bench.cli.report import print_report
from bench.cli.train import run, run_sweep
from bench.config import ROUNDS
from mnistref.common.click_program import EXISTING, FOLDER, program
from mnistref.common.console import emit, emit_json, remember_place
from mnistref.common.text_table import table

bench = program("bench", "Train and measure attention mechanisms on them.")
bench.add_command(run)
bench.add_command(run_sweep)
bench.add_command(print_leaderboard)
bench.add_command(print_report)


@bench.command("list")
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_mechanisms(pattern: str, as_json: bool) -> None:
    """List the mechanisms (those that match PATTERN, such as 'ar*') with their options.

    An option follows a name: arnn:hidden=16:context=5.
    """
    from fnmatch import fnmatchcase

    from bench.attention import known_mechanisms
    from bench.model import count_parameters
    from mnistref.common.errors import UsageProblemError, did_you_mean

    known = known_mechanisms()
    found = [m for m in known.values() if any(fnmatchcase(name, pattern) for name in (m.name, *m.aliases))]
    if not found:
        raise UsageProblemError(f"no mechanism is called {pattern!r}: {did_you_mean(pattern, list(known))}")
    described = []
    for m in found:
        try:
            described.append(m.describe() | {"params": count_parameters(m.name)})
        except UsageProblemError as error:  # another package's
            logging.warning("left out: %s", error)
    if as_json:
        return emit_json(described)
    rows = [["mechanism", "slots", "parameters", "paper", "what it does", "options"]]
    for d in described:
        options = " ".join(f"{name}={value}" for name, value in d["options"].items())
        rows.append([d["name"], d["slots"], f"{d['params']:,}", d["paper"], d["summary"], options])
    return emit(table(rows))


@bench.command()
@click.argument("module")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(module: str, as_json: bool) -> None:
    """Say whether MODULE, path/to/file.py:Class or a name, is fit to be benchmarked; exit with 6 if not."""
    from bench.conformance.isolation import check as findings_of
    from mnistref.common.errors import RunProblemError

    findings = findings_of(module)
    if as_json:
        emit_json([vars(finding) for finding in findings])
    else:
        marks = {True: "ok", False: "NO", None: "note"}
        emit("\n".join(f"{marks[f.ok]:4}  {f.what}{': ' * bool(f.why)}{f.why}" for f in findings))
    wrong = [finding.what for finding in findings if finding.ok is False]
    if wrong:
        raise RunProblemError(f"{module}: not fit to be benchmarked: {'; '.join(wrong)}")


@bench.command("runtime")
@click.option(
    "--attn",
    "lists",
    multiple=True,
    default=["none,arnn"],
    show_default=True,
    metavar="NAMES",
    help="Networks, parted by commas; none+arnn is a slot list. May be given again.",
)
@click.option("--variant", default="mbg", show_default=True, metavar="NAME", help="Whose image size and classes.")
@click.option("--recipe", default="fast", show_default=True, metavar="fast|pan", help="Whose optimiser and batch.")
@click.option("--batch", type=click.IntRange(min=2), help="Images in a step.  [default: the recipe's]")
@click.option("--threads", type=click.IntRange(min=1), help="On a CPU.  [default: PyTorch's choice]")
@computing_options
@click.option("--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--plot", type=FOLDER, help="Also draw bars: a name ending in .png, .svg or .pdf.")
def print_runtime(
    lists: tuple[str, ...],
    variant: str,
    recipe: str,
    batch: int | None,
    threads: int | None,
    computing: ComputingOptions,
    rounds: int,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Time a training step and inference of networks, turn by turn with san and pan-ctx, on random images.

    \b
    bench runtime --attn none,arnn,brnn2 --variant mref --batch 50 --threads 2
    bench runtime --attn arnn --device cuda --precision bf16 --capture graph --batch 128 --json
    """
    from dataclasses import replace

    import torch

    from bench.attention import resolve_networks
    from bench.config import get_recipe
    from bench.profiling.benchmark import BASELINES, measure_runtime, to_json, to_text
    from mnistref.common.figure_files import check_name
    from mnistref.variants import get_variant

    if plot:
        check_name(plot)
        from bench.profiling.plot import save_bars
    names = [name for networks in lists for name in resolve_networks(networks)]
    chosen, how = get_recipe(recipe), computing.chosen
    chosen = replace(chosen, batch=batch or chosen.batch)
    if threads:
        torch.set_num_threads(threads)
    setting, rows = measure_runtime(names, get_variant(variant), chosen, how, rounds)
    if as_json:
        emit_json(to_json(setting, rows))
    else:
        emit(to_text(setting, rows))
    if plot:
        save_bars(str(setting), rows, BASELINES, plot)
        logging.info("drawn: %s", plot)


@bench.command()
@click.argument("runs", type=FOLDER, metavar="RUN...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    help="A name ending in .png, .svg or .pdf.  [default: the run's name .png, of several compared.png]",
)
@click.option(
    "--images", type=click.IntRange(min=1), help="How many, of small digits to large.  [default: 4; of several runs 6]"
)
@click.option("--image", "indices", type=int, multiple=True, help="This test image; may be given again.")
@click.option("--samples", type=int, default=1, show_default=True, help="Answers to each, where maps are drawn.")
@click.option("--sigma-scale", type=float, metavar="X", help="σ times X.  [default: 3 for several samples, else 1]")
@click.option("--data", type=EXISTING, help="Another data set, such as one of mbgmulti.  [default: the run's]")
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Where data are kept.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of images and samples.")
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
    """Draw where the network in the folder RUN looks on test images, and what it answers; print the picture's name.

    Of one run the picture has the map of every slot; of several, the product of their maps side by side.

    \b
    bench show data_cache/runs/mini-arnn-s0-…
    bench show data_cache/runs/mbg-arnn-sampled-s0-… --samples 5 --data data_cache/datasets/mbgmulti-…
    """
    from bench.compute import resolve_compute
    from bench.visualization import attention_maps, comparison

    resolve_compute("cpu")  # raises if BENCH_DIAGONAL_LSTM names an implementation that does not run on a CPU
    if images and indices:
        raise click.UsageError("give --images or --image, not both")
    if len(runs) > 1 and (samples != 1 or sigma_scale is not None):
        raise click.UsageError("--samples and --sigma-scale are for one run")
    picture = output or remember_place(Path("compared.png" if len(runs) > 1 else f"{runs[0].resolve().name}.png"))
    if len(runs) > 1:
        comparison.save_comparison(runs, picture, root, data, images or comparison.IMAGES, seed, indices or None)
    else:
        images = images or attention_maps.IMAGES
        attention_maps.save_picture(runs[0], picture, root, data, images, samples, sigma_scale, seed, indices or None)
    emit(picture)
