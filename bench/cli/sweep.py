"""The command `bench sweep`: parse, import lazily, make one call, print."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.option_values import ComputeOptions, TrainingOptions
from bench.cli.options import (
    add_compute_options,
    add_training_options,
    data_option,
    describe_presets,
    training_option,
)
from bench.cli.values import Shard, TaskName
from bench.evaluation.record_keys import OK
from mnistref.common.click_program import EXISTING, HeadedCommand, headed_option
from mnistref.common.console import emit

if TYPE_CHECKING:
    from bench.runs.subprocess_worker import RunOutcome
    from bench.runs.sweep import Task
    from mnistref.spec import VariantSpec


@click.command("sweep", cls=HeadedCommand, epilog=describe_presets())
@headed_option(
    "Network",
    "--attn",
    "attn_lists",
    required=True,
    multiple=True,
    metavar="NAMES",
    help="Networks: san,pan; none+arnn is one slot list. May be repeated.",
)
@headed_option("Network", "--init", type=EXISTING, metavar="RUNS", help="Start from the runs of this folder.")
@data_option("--variant", "variants", metavar="NAMES", help="Variants, separated by commas; see `mnistref list`.")
@data_option("--task", "tasks", type=TaskName(), help="Tasks, separated by commas.")
@data_option("--data", type=EXISTING, multiple=True, help="Folder of an existing data set. May be repeated.")
@training_option(
    "--seeds", type=click.IntRange(1, 1000), metavar="N", default=5, show_default=True, help="Seeds 0, 1, …, N − 1."
)
@add_training_options
@add_compute_options
@headed_option(
    "Workers",
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs at a time.  [default: 1, or one per GPU]",
)
@headed_option("Workers", "--scheduler", metavar="tcp://HOST:PORT", help="Use the workers of this Dask scheduler.")
@headed_option("Workers", "--shard", type=Shard(), help="Do only part I of N of the runs, such as 2/8.")
def run_sweep(
    attn_lists: tuple[str, ...],
    variants: str | None,
    tasks: str | None,
    data: tuple[Path, ...],
    seeds: int,
    init: Path | None,
    training_options: TrainingOptions,
    compute_options: ComputeOptions,
    workers: int | None,
    scheduler: str | None,
    shard: tuple[int, int] | None,
) -> None:
    """Train and test many networks.

    Every network is trained on every data set with every seed, in worker processes, which are assigned to the GPUs in
    turn. The time of a long sweep is estimated before it begins. Ends with the board, prints the folders of the runs,
    and exits with 6 if a run fails. The same command again skips finished runs and resumes interrupted ones.

    With --init, each run starts from the weights of the run with the same mechanism and seed, and is skipped if there
    is none. A Dask scheduler's workers do one run on each of their threads.

    \b
    bench sweep --attn san,pan,pan-ctx,arnn --variant mref,mbg --seeds 5 --workers 2
    bench sweep --attn pan --variant mref --runs easy && bench sweep --attn pan --variant mbg --init easy --fade 0.5
    bench sweep --attn none,none+arnn --variant mref --shard $SLURM_ARRAY_TASK_ID/8    # --array=1-8
    """
    from bench.attention import split_networks
    from bench.attention.plugins import require_files_exist

    attns = [attn for attn_list in attn_lists for attn in split_networks(attn_list)]
    for attn in attns:
        require_files_exist(attn)
    from bench.conformance.isolation import examine_networks
    from bench.data.online import require_enough_for_batch
    from bench.data.sets import read_manifest
    from bench.distributed import process_group
    from bench.runs import experiment, sweep, sweep_workers
    from bench.runs.sweep_forecast import announce_duration, describe_size
    from bench.tasks import prepare_task

    process_group.refuse("bench sweep")
    options, runs = training_options, training_options.runs_folder
    preset, compute_config = options.preset(variants), compute_options.compute_config
    recipe = options.recipe(preset)
    progress_options = options.progress_options
    options.require_one_source(variants, tasks, data)
    if tasks:
        data = tuple(prepare_task(name.strip(), options.root, options.canvas) for name in tasks.split(","))
    if scheduler and workers:
        raise click.UsageError("give --workers or --scheduler, not both; a cluster has its own number of workers")
    if init and init.resolve() == runs.resolve():
        raise click.UsageError(f"--init {init}: this sweep saves its runs in the same folder; give --runs another one")
    if not runs.is_dir() or not any(runs.iterdir()):  # a folder of finished runs may be read-only
        sweep.require_writable(runs)
    variant_specs = _resolve_variants(data, variants or preset.variant)
    # Errors in networks and in the scheduler must show before a data set is generated.
    networks, unfit = examine_networks(attns, variant_specs, options.width, options.architecture)
    initial_runs, missing = sweep.find_initial_runs(init, networks, seeds) if init else (None, [])
    for line in missing:
        logging.warning("skipped: %s", line)
    launching = (
        sweep_workers.dask_workers(scheduler, options.threads)
        if scheduler
        else sweep_workers.local_workers(compute_config.device.type, workers, options.threads)
    )
    counts = {"network": len(networks), "data set": len(data or variant_specs), "seed": seeds}
    images = [read_manifest(folder).images("train") for folder in data] or [preset.sizes["train"]]
    size = describe_size(counts, images, recipe)
    later = "" if data or scheduler else "; the time of a long sweep is estimated when its data is there"
    logging.info("%s%s", size, later)
    with launching as launcher:
        sources = options.root, options.digits, options.backgrounds
        data_sets = data or [experiment.prepare_dataset(preset, spec.name, *sources) for spec in variant_specs]
        for folder in data_sets:
            require_enough_for_batch(folder, options.queries, options.batch, recipe)
        settings = experiment.RunSettings(recipe, options.queries, compute_config, online=options.online)
        plan = sweep.SweepPlan(
            networks, data_sets, seeds, settings, data_options=options.data_options, initial_runs=initial_runs
        )
        planned = plan.build_tasks()
        planned = sweep.select_shard(planned, shard) if shard else planned
        announce_duration(planned, runs, launcher.workers, launcher.threads)
        outcomes = sweep.sweep(planned, runs, launcher, progress_options, unfit)
    _show_board(list(outcomes), runs)
    _print_outcomes(outcomes, missing, runs)


def _show_board(tasks: "Sequence[Task]", runs: Path) -> None:
    """Log the board of the runs of a sweep, whatever other runs are in the folder."""
    from bench.leaderboard import formatting
    from bench.leaderboard.aggregate import build_board
    from bench.runs.records import read_results

    own = {task.config.run_id for task in tasks}
    results = [result for result in read_results(runs) if result["run"] in own] if runs.is_dir() else []
    if any(result["status"] == OK for result in results):
        logging.info("\n%s\n", formatting.to_text(build_board(results)))


def _resolve_variants(data: Sequence[Path], variants: str) -> "list[VariantSpec]":
    """Return the variants of the data sets, or else of the names, which commas separate."""
    from bench.data.sets import read_manifest
    from mnistref.variants import get_variant

    if data:
        return [read_manifest(folder).variant for folder in data]
    return [get_variant(name.strip()) for name in variants.split(",")]


def _print_outcomes(outcomes: "Mapping[Task, RunOutcome]", missing: Sequence[str], runs: Path) -> None:
    """Print the folders of the successful runs, and raise SummaryProblemError if there are others.

    Args:
        outcomes: the outcome of each run.
        missing: descriptions of runs that could not be planned.
        runs: the folder of the runs.
    """
    from mnistref.common.errors import SummaryProblemError

    for task, outcome in outcomes.items():
        if outcome.status == OK:
            emit(runs / task.config.run_id)
    problems = [f"{task.name}: {outcome.status}" for task, outcome in outcomes.items() if outcome.status != OK]
    problems += missing
    if problems:
        total = len(outcomes) + len(missing)
        raise SummaryProblemError(f"{len(problems)} of {total} runs failed or diverged: {'; '.join(problems)}")
