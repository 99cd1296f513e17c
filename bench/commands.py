"""The commands of `bench`: parse, import lazily, make one call, print."""

import logging
from pathlib import Path

import click

from bench.config import ROUNDS
from bench.options import ComputingOptions, Shard, TrainingOptions, computing_options, training_options
from mnistref.program import EXISTING, FOLDER, print_json, program
from mnistref.text import table

bench = program("bench", "Train and measure attention mechanisms on them.")


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
    from mnistref.errors import UsageProblemError, did_you_mean

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
        return print_json(described)
    rows = [["mechanism", "slots", "parameters", "paper", "what it does", "options"]]
    for d in described:
        options = " ".join(f"{name}={value}" for name, value in d["options"].items())
        rows.append([d["name"], d["slots"], f"{d['params']:,}", d["paper"], d["summary"], options])
    return click.echo(table(rows))


@bench.command()
@click.argument("module")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(module: str, as_json: bool) -> None:
    """Say whether MODULE, path/to/file.py:Class or a name, is fit to be benchmarked; exit with 6 if not."""
    from bench.check import check as findings_of
    from mnistref.errors import RunProblemError

    findings = findings_of(module)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        marks = {True: "ok", False: "NO", None: "note"}
        click.echo("\n".join(f"{marks[f.ok]:4}  {f.what}{': ' * bool(f.why)}{f.why}" for f in findings))
    wrong = [finding.what for finding in findings if finding.ok is False]
    if wrong:
        raise RunProblemError(f"{module}: not fit to be benchmarked: {'; '.join(wrong)}")


@bench.command()
@click.option(
    "--attn", required=True, metavar="NAME", help="A name (see `bench list`), slots (none,arnn), or file.py:Class."
)
@click.option("--variant", metavar="NAME", help="Data set to train on.  [default: the preset's]")
@click.option("--data", type=EXISTING, help="A data set already made, instead of --variant.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@training_options
@computing_options
@click.option("--init", type=FOLDER, metavar="RUN", help="Start from this run's weights, as after an easier variant.")
@click.option(
    "--resume/--restart",
    default=True,
    show_default=True,
    help="Go on after the last epoch of an interrupted run, or start it again.",
)
def run(
    attn: str,
    variant: str | None,
    data: Path | None,
    seed: int,
    training: TrainingOptions,
    computing: ComputingOptions,
    init: Path | None,
    resume: bool,
) -> None:
    """Train and test one network, alone or under torchrun, and print the run's folder. Missing data are generated."""
    from bench import experiment, parallel
    from bench.check import refuse_unfit
    from mnistref.dataset import read_manifest
    from mnistref.variants import get_variant

    if data and variant:
        raise click.UsageError("give --data or --variant, not both")
    preset, recipe, how = training.chosen_preset, training.chosen_recipe, computing.chosen
    made_for = read_manifest(data).variant if data else get_variant(variant or preset.variant)
    refuse_unfit(attn, made_for.canvas)
    source = training.root, training.digits, training.backgrounds
    with parallel.join() as team:
        folder = data or team.in_turn(lambda: experiment.prepare(preset, [attn], variant, *source))
        config = experiment.configure(folder, attn, seed, recipe, training.queries, how, init)
        click.echo(experiment.run(config, folder, training.chosen_runs, resume, init, team))


@bench.command("sweep")
@click.option(
    "--attn",
    "lists",
    required=True,
    multiple=True,
    metavar="NAMES",
    help="Networks, parted by commas; none+arnn is a slot list. May be given again.",
)
@click.option("--variant", "variants", metavar="NAMES", help="Data sets, parted by commas.  [default: the preset's]")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many: 0, 1, 2 …")
@training_options
@computing_options
@click.option("--workers", type=click.IntRange(min=1), help="Runs at a time.  [default: one, or one for each GPU]")
@click.option("--threads", type=click.IntRange(min=1), help="Of a run on a CPU.  [default: the cores, shared out]")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Use the workers of this Dask scheduler.")
@click.option("--shard", type=Shard(), help="Only this part of the runs, for arrays of jobs: 1/8 … 8/8.")
def run_sweep(
    lists: tuple[str, ...],
    variants: str | None,
    seeds: int,
    training: TrainingOptions,
    computing: ComputingOptions,
    workers: int | None,
    threads: int | None,
    scheduler: str | None,
    shard: tuple[int, int] | None,
) -> None:
    """Train and test many networks, several at a time, and print their folders; exit with 6 if one fails.

    Each run is a process of its own. Finished ones are skipped, interrupted ones go on: give the same command again.

    \b
    bench sweep --attn san,pan,pan-ctx,arnn --variant mref,mbg --seeds 5 --workers 2
    bench sweep --attn none,none+arnn --variant mref --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT
    """
    from bench import experiment, parallel, sweep
    from bench.attention import networks_of
    from bench.check import refuse_unfit
    from mnistref.errors import RunProblemError
    from mnistref.variants import get_variant

    parallel.refuse("bench sweep")
    attns = [name for networks in lists for name in networks_of(networks)]
    preset, recipe = training.chosen_preset, training.chosen_recipe
    how, runs = computing.chosen, training.chosen_runs
    names = [get_variant(name.strip()).name for name in (variants or preset.variant).split(",")]
    for attn in attns:
        for name in names:
            refuse_unfit(attn, get_variant(name).canvas)
    data = [
        experiment.prepare(preset, attns, name, training.root, training.digits, training.backgrounds) for name in names
    ]
    tasks = sweep.plan(attns, data, seeds, recipe, training.queries, how)
    tasks = sweep.share(tasks, shard) if shard else tasks
    place = sweep.cluster(scheduler, threads) if scheduler else sweep.here(how.device.type, workers, threads)
    with place as launcher:
        ended = sweep.sweep(tasks, runs, launcher)
    for task, result in ended.items():
        if result.status == "ok":
            click.echo(runs / task.config.run_id)
    wrong = [f"{task.name}: {result.reason}" for task, result in ended.items() if result.status != "ok"]
    if wrong:
        raise RunProblemError(f"{len(wrong)} of {len(ended)} runs did not end well: {'; '.join(wrong)}")


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

    from bench.attention import networks_of
    from bench.config import get_recipe
    from bench.runtime import BASELINES, runtime, to_json, to_text
    from mnistref.figures import check_name
    from mnistref.variants import get_variant

    if plot:
        check_name(plot)
        from bench.bars import save_bars
    names = [name for networks in lists for name in networks_of(networks)]
    chosen, how = get_recipe(recipe), computing.chosen
    chosen = replace(chosen, batch=batch or chosen.batch)
    if threads:
        torch.set_num_threads(threads)
    setting, rows = runtime(names, get_variant(variant), chosen, how, rounds)
    if as_json:
        print_json(to_json(setting, rows))
    else:
        click.echo(to_text(setting, rows))
    if plot:
        save_bars(str(setting), rows, BASELINES, plot)
        logging.info("drawn: %s", plot)


@bench.command("leaderboard")
@click.option("--runs", type=FOLDER, default="data_cache/runs", show_default=True, help="Where runs are kept.")
@click.option("--variant", metavar="NAME", help="Only this variant.")
@click.option("-o", "--output", type=FOLDER, help="Write CSV to this file and print its name.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def print_leaderboard(runs: Path, variant: str | None, output: Path | None, markdown: bool) -> None:
    """One row for each mechanism and data set, with published numbers beside measured ones."""
    from bench.leaderboard import leaderboard, to_csv, to_text
    from bench.records import results
    from mnistref.errors import UsageProblemError
    from mnistref.files import write_whole
    from mnistref.variants import get_variant

    board = leaderboard(results(runs), get_variant(variant).name if variant else None)
    if board.empty:
        raise UsageProblemError(f"{runs}: no finished runs here; make one with `bench run`, or give --runs")
    if output:
        write_whole(output, to_csv(board).encode())
        logging.info("%s", to_text(board))
        return click.echo(output)
    return click.echo(to_text(board, markdown))


@bench.command()
@click.argument("run", type=FOLDER)
@click.option(
    "-o", "--output", type=FOLDER, help="A name ending in .png, .svg or .pdf.  [default: the run's name .png]"
)
@click.option("--images", type=click.IntRange(min=1), help="How many, of small digits to large.  [default: 4]")
@click.option("--image", "indices", type=int, multiple=True, help="This test image; may be given again.")
@click.option("--samples", type=int, default=1, show_default=True, help="Answers to each, where maps are drawn.")
@click.option("--sigma-scale", type=float, metavar="X", help="σ times X.  [default: 3 for several samples, else 1]")
@click.option("--data", type=EXISTING, help="Another data set, such as one of mbgmulti.  [default: the run's]")
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Where data are kept.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of images and samples.")
def show(
    run: Path,
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

    \b
    bench show data_cache/runs/mini-arnn-s0-…
    bench show data_cache/runs/mbg-arnn-sampled-s0-… --samples 5 --data data_cache/datasets/mbgmulti-…
    """
    from bench.show import IMAGES, save_picture

    if images and indices:
        raise click.UsageError("give --images or --image, not both")
    picture = output or Path(f"{run.resolve().name}.png")
    save_picture(run, picture, root, data, images or IMAGES, samples, sigma_scale, seed, indices or None)
    click.echo(picture)
