"""The commands of `bench` that train: parse, import lazily, make one call, print."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import (
    ComputingOptions,
    RunOptions,
    TrainingOptions,
    computing_options,
    run_options,
    training_options,
)
from bench.cli.values import Shard
from mnistref.common.click_program import EXISTING, FOLDER
from mnistref.common.console import emit

if TYPE_CHECKING:
    from bench.runs.reproduce import ResolvedRun

BESIDE_CONFIG = {
    *("config_file", "data", "init", "digits", "backgrounds", "root", "runs"),
    *("threads", "log", "every", "resume", "stream"),
}
"""Options of `bench run` that decide nothing which --config has decided."""


@click.command()
@run_options
@training_options
@computing_options
@click.option(
    "--config",
    "config_file",
    type=FOLDER,
    metavar="FILE",
    help="Do a run again: its config.json.",
)
@click.option(
    "--resume/--restart",
    default=True,
    show_default=True,
    help="Go on with an interrupted run where it was last kept, or start it again.",
)
@click.pass_context
def run(
    context: click.Context,
    asked: RunOptions,
    training: TrainingOptions,
    computing: ComputingOptions,
    config_file: Path | None,
    resume: bool,
) -> None:
    """Train and test one network, alone or under torchrun, and print the run's folder. Missing data are generated.

    \b
    bench run --attn arnn --preset quick
    bench run --config data_cache/runs/mini-arnn-s0-…/config.json --runs again
    """
    from bench.distributed import process_group
    from bench.runs import experiment

    progress_options = training.progress_options
    training.set_threads()

    def find() -> "ResolvedRun":
        if config_file:
            return _repeated(context, config_file, asked, training, group.is_main)
        return _asked(asked, training, computing, group.is_main)

    with process_group.join() as group:
        found = group.main_process_first(find)
        how = resume, found.init, progress_options, training.data_options, group
        folder = experiment.run(found.config, found.data, training.chosen_runs, *how)
        if group.is_main:
            emit(folder)


def _repeated(
    context: click.Context, file: Path, asked: RunOptions, training: TrainingOptions, is_main: bool
) -> "ResolvedRun":
    """The run of a file, which leaves nothing else to choose. The process that `is_main` checks the network for all."""
    from click.core import ParameterSource

    from bench.compute import resolve_compute
    from bench.conformance.isolation import require_buildable
    from bench.runs.reproduce import resolve_config_file
    from mnistref.variants import get_variant

    for option in context.command.params:
        name = option.name or ""
        if name not in BESIDE_CONFIG and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option.opts[0]}: --config {file} says that already; leave one of them out")
    given = context.get_parameter_source("backgrounds") is ParameterSource.COMMANDLINE
    found = resolve_config_file(
        file, training.root, asked.data, asked.init, training.digits, training.backgrounds if given else None
    )
    resolve_compute(found.config.device, found.config.precision, found.config.capture, found.config.deterministic)
    if is_main:
        require_buildable(found.config.attn, get_variant(found.config.variant), found.config.width)
    return found


def _asked(asked: RunOptions, training: TrainingOptions, computing: ComputingOptions, is_main: bool) -> "ResolvedRun":
    """The run that the options describe. The process that `is_main` checks the network for all."""
    from bench.conformance.isolation import require_buildable
    from bench.data.online import require_batch_fits
    from bench.runs import experiment
    from bench.runs.reproduce import ResolvedRun
    from mnistref.dataset import read_manifest
    from mnistref.variants import get_variant

    attn, variant, data = asked.attn, asked.variant, asked.data
    if not attn:
        raise click.UsageError("give --attn NAME (see `bench list`), or --config FILE")
    if data and variant:
        raise click.UsageError("give --data or --variant, not both")
    preset, recipe, how = training.chosen_preset, training.chosen_recipe, computing.chosen
    made_for = read_manifest(data).variant if data else get_variant(variant or preset.variant)
    if is_main:
        require_buildable(attn, made_for, training.width)
    folder = data or experiment.prepare_dataset(
        preset, [attn], variant, training.root, training.digits, training.backgrounds
    )
    require_batch_fits(folder, training.queries, training.batch, recipe)
    config = experiment.configure(
        folder,
        attn,
        asked.seed,
        experiment.RunSettings(
            recipe, training.queries, how, init=asked.init, online=training.online, width=training.width
        ),
    )
    return ResolvedRun(config, folder, asked.init)


@click.command("sweep")
@click.option(
    "--attn",
    "lists",
    required=True,
    multiple=True,
    metavar="NAMES",
    help="Networks, parted by commas; none+arnn is a slot list. May be given again.",
)
@click.option("--variant", "variants", metavar="NAMES", help="Data sets, parted by commas.  [default: the preset's]")
@click.option("--data", type=EXISTING, multiple=True, help="A data set already made. May be given again.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many: 0, 1, 2 …")
@click.option(
    "--init",
    type=EXISTING,
    metavar="RUNS",
    help="Start each from the weights of the run of its mechanism and seed in this folder.",
)
@training_options
@computing_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Runs at a time, spread over the GPUs in turn.  [default: one, or one for each GPU]",
)
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Use the workers of this Dask scheduler.")
@click.option("--shard", type=Shard(), help="Only this part of the runs, for arrays of jobs: 1/8 … 8/8.")
def run_sweep(
    lists: tuple[str, ...],
    variants: str | None,
    data: tuple[Path, ...],
    seeds: int,
    init: Path | None,
    training: TrainingOptions,
    computing: ComputingOptions,
    workers: int | None,
    scheduler: str | None,
    shard: tuple[int, int] | None,
) -> None:
    """Train and test many networks, several at a time, and print their folders; exit with 6 if one fails.

    Runs are done in processes apart. Finished ones are skipped, interrupted ones go on: give the same command again.

    \b
    bench sweep --attn san,pan,pan-ctx,arnn --variant mref,mbg --seeds 5 --workers 2
    bench sweep --attn pan --variant mref --runs easy && bench sweep --attn pan --variant mbg --init easy --fade 0.5
    bench sweep --attn none,none+arnn --variant mref --shard $SLURM_ARRAY_TASK_ID/8    # --array=1-8
    """
    from bench.attention import split_networks
    from bench.conformance.isolation import check_networks
    from bench.data.online import require_batch_fits
    from bench.distributed import process_group
    from bench.runs import experiment, launchers, sweep
    from bench.runs.configure import RunSettings
    from mnistref.common.errors import RunProblemError
    from mnistref.dataset import read_manifest
    from mnistref.variants import get_variant

    process_group.refuse("bench sweep")
    networks = [network for text in lists for network in split_networks(text)]
    preset, recipe, how = training.chosen_preset, training.chosen_recipe, computing.chosen
    runs, progress_options = training.chosen_runs, training.progress_options
    if data and variants:
        raise click.UsageError("give --data or --variant, not both")
    if init and init.resolve() == runs.resolve():
        raise click.UsageError(f"--init {init}: runs go there too; give them another folder with --runs")
    if not runs.is_dir() or not any(runs.iterdir()):  # where finished runs lie, nothing may have to be written
        sweep.require_writable(runs)
    names = [] if data else [get_variant(name.strip()).name for name in (variants or preset.variant).split(",")]
    laws = [read_manifest(folder).variant for folder in data] or [get_variant(name) for name in names]
    attns, unfit = check_networks(networks, laws, training.width)  # what cannot be built must not cost a data set
    starts, missing = sweep.find_initial_runs(init, attns, seeds) if init else (None, [])
    for lack in missing:
        logging.warning("left out: %s", lack)
    threads = training.threads
    place = (
        launchers.dask_workers(scheduler, threads)
        if scheduler
        else launchers.local_workers(how.device.type, workers, threads)
    )
    with place as launcher:  # a scheduler that is not there must not cost a data set
        sources = training.root, training.digits, training.backgrounds
        sets = data or [experiment.prepare_dataset(preset, attns, name, *sources) for name in names]
        for folder in sets:
            require_batch_fits(folder, training.queries, training.batch, recipe)
        online, data_options, width = training.online, training.data_options, training.width
        tasks = sweep.SweepPlan(
            attns,
            sets,
            seeds,
            RunSettings(recipe, training.queries, how, online=online, width=width),
            data_options=data_options,
            initial_runs=starts,
        ).build_tasks()
        tasks = sweep.select_shard(tasks, shard) if shard else tasks
        ended = sweep.sweep(tasks, runs, launcher, progress_options, unfit)
    for task, result in ended.items():
        if result.status == "ok":
            emit(runs / task.config.run_id)
    wrong = [f"{task.name}: {result.status}" for task, result in ended.items() if result.status != "ok"] + missing
    if wrong:
        raise RunProblemError(f"{len(wrong)} of {len(ended) + len(missing)} runs did not end well: {'; '.join(wrong)}")
