"""The command `bench run`: parse, import lazily, make one call, print."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.option_values import ComputeOptions, RunOptions, TrainingOptions
from bench.cli.options import add_compute_options, add_run_options, add_training_options, describe_presets
from mnistref.common.click_program import FOLDER, HeadedCommand, headed_option
from mnistref.common.console import emit, in_user_spelling

if TYPE_CHECKING:
    from bench.runs.reproduce import ResolvedRun

PICTURE = "attention.png"
"""The picture in the folder of a run."""
ALLOWED_WITH_CONFIG = {
    *("config_file", "data", "init", "digits", "backgrounds", "root", "runs"),
    *("threads", "log", "checkpoint_seconds", "resume", "stream", "timing", "picture"),
}
"""Parameters of `bench run` that a configuration file does not set."""


@click.command(cls=HeadedCommand, epilog=describe_presets())
@add_run_options
@add_training_options
@add_compute_options
@headed_option(
    "Output",
    "--picture/--no-picture",
    default=True,
    envvar="BENCH_PICTURE",
    help="Draw the attention after the test.  [default: picture]",
)
@headed_option(
    "Repeat and resume",
    "--config",
    "config_file",
    type=FOLDER,
    metavar="FILE",
    help="Repeat the run of this config.json.",
)
@headed_option(
    "Repeat and resume",
    "--resume/--restart",
    default=True,
    help="Resume from the last checkpoint, or start again.  [default: resume]",
)
@click.pass_context
def run(
    context: click.Context,
    run_options: RunOptions,
    training_options: TrainingOptions,
    compute_options: ComputeOptions,
    picture: bool,
    config_file: Path | None,
    resume: bool,
) -> None:
    """Train and test one network.

    Generates the data set if it is missing. A finished run is not repeated. Under torchrun, several processes share the
    run. Prints the folder of the run. With --config, only options that the file does not set can be given.

    \b
    bench run --attn arnn --preset quick
    bench run --attn san --variant mini --train 2000
    bench run --attn cbam --task cifar10
    bench run --attn cbam --task folder:photos --canvas 48 --recipe cbam-cifar-fast
    bench run --config data_cache/runs/mini-arnn-s0-…/config.json --runs data_cache/repeated
    """
    from bench.attention.plugins import require_files_exist

    if not config_file:
        if not run_options.attn:
            raise click.UsageError("give --attn NAME (see `bench list`), or --config FILE")
        require_files_exist(run_options.attn)
    from bench.distributed import process_group
    from bench.runs import experiment

    progress_options = training_options.progress_options
    training_options.set_threads()

    def resolve() -> "ResolvedRun":
        if config_file:
            return _resolve_config_file(context, config_file, run_options, training_options, group.is_main)
        return _resolve_options(run_options, training_options, compute_options, group.is_main)

    with process_group.join() as group:
        resolved = group.main_process_first(resolve)
        folder = experiment.run(
            resolved.config,
            resolved.data,
            training_options.runs_folder,
            init=resolved.init,
            network=resolved.network,
            options=experiment.ExecutionOptions(resume, progress_options, training_options.data_options, group),
        )
        if group.is_main:
            _show_result(folder, resolved, training_options.root, picture)
            emit(folder)


def _show_result(run: Path, resolved: "ResolvedRun", root: Path, picture: bool) -> None:
    """Log what the run found, and the commands that come next. Draw the picture if matplotlib is installed."""
    from importlib.util import find_spec

    from bench.attention.user_code import describe_error
    from bench.runs.summary import describe_run, has_map, suggest_commands
    from bench.visualization import attention_maps
    from mnistref.common.errors import ProblemError

    logging.info("\n%s\n", describe_run(run, resolved.data))
    file = run / PICTURE
    if picture and has_map(run) and not file.exists() and find_spec("matplotlib"):
        logging.info("drawing %s", in_user_spelling(file))
        try:
            attention_maps.save_picture(run, file, root, resolved.data)
        except (OSError, ProblemError) as error:  # such as a read-only folder; the run itself is finished
            logging.warning("no picture: %s", error)
        except Exception as error:  # user code may raise any error
            logging.warning("no picture: %s", describe_error(error))
    logging.info("%s", suggest_commands(in_user_spelling(run), in_user_spelling(file) if file.exists() else None))


def _resolve_config_file(
    context: click.Context, file: Path, run_options: RunOptions, training_options: TrainingOptions, is_main: bool
) -> "ResolvedRun":
    """Return the run of a configuration file. Only the main process checks the network, for all processes."""
    from dataclasses import replace

    from click.core import ParameterSource

    from bench.compute import resolve_compute
    from bench.conformance.isolation import prepare_network
    from bench.data.sets import read_manifest
    from bench.runs.reproduce import resolve_config_file

    def is_given(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    for option in context.command.params:
        name = option.name or ""
        if name not in ALLOWED_WITH_CONFIG and is_given(name):
            raise click.UsageError(f"{option.opts[0]}: --config {file} already sets it; omit one of them")
    backgrounds = training_options.backgrounds if is_given("backgrounds") else None
    resolved = resolve_config_file(
        file,
        training_options.root,
        data=run_options.data,
        init=run_options.init,
        digits=training_options.digits,
        backgrounds=backgrounds,
    )
    config = resolved.config
    resolve_compute(config.device, config.precision, config.capture, config.deterministic)
    if is_main:
        checked = prepare_network(resolved.network.spec, read_manifest(resolved.data).variant, config.seed)
        resolved = replace(resolved, network=checked)
    return resolved


def _resolve_options(
    run_options: RunOptions, training_options: TrainingOptions, compute_options: ComputeOptions, is_main: bool
) -> "ResolvedRun":
    """Return the run of the options. Only the main process checks the network, for all processes."""
    from bench.conformance.isolation import resolve_checked
    from bench.data.online import require_enough_for_batch
    from bench.data.sets import read_manifest
    from bench.model import CheckedNetwork
    from bench.networks import layout_of, resolve
    from bench.runs import experiment
    from bench.runs.reproduce import ResolvedRun
    from bench.tasks import prepare_task
    from mnistref.variants import get_variant

    attn, options = run_options.attn, training_options
    assert attn  # the command requires it
    options.require_one_source(run_options.variant, run_options.task, run_options.data)
    data = prepare_task(run_options.task, options.root, options.canvas) if run_options.task else run_options.data
    preset, compute_config = options.preset(run_options.variant), compute_options.compute_config
    recipe = options.recipe(preset)
    variant = read_manifest(data).variant if data else get_variant(run_options.variant or preset.variant)
    how, seed = (options.width, options.architecture), run_options.seed
    checked = resolve_checked(attn, variant, seed, *how) if is_main else CheckedNetwork(resolve(attn, *how))
    network = checked.spec
    network.fill(layout_of(network, (variant.canvas, variant.canvas)))  # raises before a data set is generated
    folder = data or experiment.prepare_dataset(
        preset, run_options.variant, options.root, options.digits, options.backgrounds
    )
    require_enough_for_batch(folder, options.queries, options.batch, recipe)
    settings = experiment.RunSettings(recipe, options.queries, compute_config, run_options.init, options.online)
    config = experiment.configure(folder, network, seed, settings)
    return ResolvedRun(config, folder, run_options.init, checked)
