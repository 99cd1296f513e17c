"""One run, from its configuration to its record: training and test, unless the run is finished."""

import logging
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path

import torch

from bench.attention.user_code import describe_error, locate
from bench.common.memory import free_memory, keep_freed, ran_out
from bench.compute import ComputeConfig, explain_nondeterminism
from bench.config import MIN_BATCH, RunConfig
from bench.data.loading import load_split
from bench.data.online import OnlineImages, load_training
from bench.data.sets import describe_request, read_manifest
from bench.data.split import Split
from bench.distributed.process_group import ProcessLostError
from bench.evaluation import batch_size
from bench.evaluation.columns import ACCURACY, STATUS
from bench.evaluation.evaluate import DivergedError, Measure
from bench.evaluation.record_keys import DIVERGED, FAILED, OK, REASON
from bench.kernels.diagonal_lstm import ImplementationError
from bench.kernels.diagonal_lstm.implementation_log import record_implementations
from bench.model import CheckedNetwork, SlotNetwork, build
from bench.networks import network_of
from bench.profiling import oom, run_cost
from bench.runs import records
from bench.runs.configure import RunSettings, configure, hash_weights, prepare_dataset
from bench.runs.environment import get_commit
from bench.runs.final_test import test_best_weights
from bench.runs.network_loading import load_model
from bench.runs.provenance import ReproductionInfo
from bench.runs.result import build_result
from bench.runs.run_context import ExecutionOptions, RunContext
from bench.training import checkpoints
from bench.training.checkpoints import load_matching_weights
from bench.training.interruption import InterruptGuard
from bench.training.progress import track_progress
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.common.atomic_files import exclusive, path_to_text
from mnistref.common.console import log_once
from mnistref.common.errors import (
    DataProblemError,
    ProblemError,
    RunProblemError,
    UsageProblemError,
    format_traceback,
)

__all__ = ["ExecutionOptions", "RunSettings", "configure", "prepare_dataset", "run"]

log = logging.getLogger("bench")

_SEE_TRACEBACK = f"see {records.TRACEBACK} in the run's folder, or use --debug"


def run(
    config: RunConfig,
    data: Path,
    runs: Path,
    init: Path | None = None,
    network: CheckedNetwork | None = None,
    options: ExecutionOptions | None = None,
) -> Path:
    """Train and test a network, write the record of the run, and return its folder. A finished run is not repeated.

    If another process does the same run, wait for it. All processes of a group call this function; rank 0 writes.

    Args:
        config: configuration of the run.
        data: folder of the data set.
        runs: folder of all runs.
        init: folder of the run with the initial weights, the same as in `bench.runs.configure.configure`.
        network: the network of the configuration, if it has been resolved already. Its model, if there is one, has the
            initial weights of the seed and variant of the run, and is trained.
        options: how the run is executed; None for the defaults of `ExecutionOptions`.

    Raises:
        RunProblemError: the run has failed or diverged. Its record has the reason.
        UsageProblemError: the network cannot be built, or the weights of `init` are not those of the configuration.
        DataProblemError: the data set or the checkpoint is damaged.
        MismatchProblemError: the folder has a run with another configuration.
        ValueError: `network` is not the network of the configuration.
    """
    folder, manifest = runs / config.run_id, read_manifest(data)
    computing = ComputeConfig(torch.device(config.device), config.precision, config.capture, config.deterministic)
    options = options or ExecutionOptions()
    group = options.group
    checked = network or CheckedNetwork(network_of(config))
    spec = checked.spec
    if (spec.name, spec.width, spec.architecture) != (config.attn, config.width, config.network):
        raise ValueError(
            f"the network is {spec.label}, width {spec.width}; this does not match the configuration "
            f"({config.attn} in {config.network}, width {config.width})"
        )
    context = RunContext(
        config=config,
        network=spec,
        data=data,
        folder=folder,
        manifest=manifest,
        computing=computing,
        init=init,
        options=options,
    )
    group.require_supported(computing)
    run_cost.timing_rounds()  # raises for an invalid environment variable now, not after the training
    get_commit()  # likewise
    if _is_finished(context):  # before the lock, which must be written
        log.info("already finished: %s", folder)
        return folder
    model = checked.model
    if model is None:  # an error is raised before a folder is made
        model = build(spec, manifest.variant, config.seed, computing.device)
    model.to(computing.device)
    # the lock is outside of the folder of the run, whose files may be removed
    lock = runs / ".locks" / f"{config.run_id}.lock"
    with exclusive(lock, folder / checkpoints.FOLDER) if group.is_main else nullcontext():
        if _is_finished(context):
            log.info("already finished: %s", folder)
        else:
            _run_and_record(context, model)
    return folder


def _is_finished(context: RunContext) -> bool:
    """Return, on all ranks, whether rank 0 finds a finished run that is not to be repeated."""
    return bool(
        context.options.group.broadcast(
            lambda: "finished" if context.options.resume and records.is_finished(context.folder) else ""
        )
    )


def _run_and_record(context: RunContext, model: SlotNetwork) -> None:
    """Train and test, and write result.json, whether the run succeeds or not."""
    config, folder, computing, variant = context.config, context.folder, context.computing, context.manifest.variant
    log.info("%s on %s, %s, %s", config.attn, config.dataset, config.training, computing.description)
    if variant.note:
        log_once(f"{config.variant} is {variant.note}")
    _start(context, model)
    started = time.perf_counter()
    out_of_memory, where, stack = False, "", ""
    try:
        with computing.backend_flags(tuned=config.recipe.questions != "all"):
            outcome = _train_and_test(context, model)
    except ProcessLostError:  # the other process records the reason
        raise
    except DivergedError as error:
        _write_result(context, started, {STATUS: DIVERGED, REASON: str(error)})
        raise RunProblemError(f"{folder}: diverged: {error}; the learning rate may be too high") from error
    except ProblemError as error:
        _write_result(context, started, {STATUS: FAILED, REASON: str(error)})
        raise
    except ImplementationError as error:
        _write_result(context, started, {STATUS: FAILED, REASON: str(error)})
        raise UsageProblemError(str(error)) from error
    except (Exception, SystemExit) as error:  # user code may raise any error
        out_of_memory, where, stack = ran_out(error), locate(error), format_traceback(error)
        if not out_of_memory:
            reason = explain_nondeterminism(error) or describe_error(error)
            records.write_traceback(folder, stack)
            _write_result(context, started, {STATUS: FAILED, REASON: reason})
            raise RunProblemError(f"{folder}: failed: {reason}; {_SEE_TRACEBACK}") from error
    if out_of_memory:  # after the except clause, so that the error and the tensors of its frames are released
        del model
        processes = context.options.group.size
        reason = oom.describe_out_of_memory(context.network, config.recipe, variant, computing, processes)
        reason += f" ({where})" * bool(where)
        records.write_traceback(folder, stack)
        _write_result(context, started, {STATUS: FAILED, REASON: reason})
        raise RunProblemError(f"{folder}: failed: {reason}{f'; {_SEE_TRACEBACK}' * bool(where)}")
    _write_result(context, started, {STATUS: OK, **outcome})
    accuracy = outcome[ACCURACY]
    assert isinstance(accuracy, float)
    log.info("test accuracy %.1f %%", 100 * accuracy)


def _write_result(context: RunContext, started: float, outcome: Mapping[str, object]) -> None:
    """Write result.json. Ranks other than 0 write only failures, which rank 0 may not know of.

    Args:
        context: the run.
        started: start of the run, by `time.perf_counter`.
        outcome: the status, and the measures or the reason.
    """
    seconds = round(time.perf_counter() - started, 3)
    if context.options.group.is_main or outcome[STATUS] == FAILED:
        result = build_result(context.config, context.manifest, context.computing, seconds, outcome)
        records.write_json(context.folder / records.RESULT, result)


def _start(context: RunContext, model: SlotNetwork) -> None:
    """Load the initial weights, if there are any, and create the folder of the run."""
    config, init, folder = context.config, context.init, context.folder
    if config.init_weights != (hash_weights(init / records.WEIGHTS) if init else None):
        raise UsageProblemError(f"{folder}: the run was configured to start from other weights than those of {init}")
    initial_weights = load_model(init)[1].state_dict() if init else {}
    if init:
        missing, unused = map(", ".join, load_matching_weights(initial_weights, model))
        if missing:
            log.info("initialised at random, because %s has no weights that fit: %s", init.name, missing)
        if unused:
            log.info("weights of %s that are not used: %s", init.name, unused)
    if context.options.group.is_main:
        content = {**config.as_dict(), **_build_reproduction_info(context)}
        records.start_run(folder, content, context.computing, context.options.resume, context.options.group.size)


def _build_reproduction_info(context: RunContext) -> ReproductionInfo:
    info: ReproductionInfo = {}
    if files := context.network.files:
        info["attn_files"] = dict(files)
    info["data_request"] = describe_request(context.manifest)
    info["data_folder"] = path_to_text(context.data.resolve())
    if context.init:
        info["init_run"] = path_to_text(context.init.resolve())
    return info


def _train_and_test(context: RunContext, model: SlotNetwork) -> dict[str, Measure | str]:
    """Train the network, write checkpoints and the history, and return the measures of the test."""
    config, folder, is_main = context.config, context.folder, context.options.group.is_main
    trainer = _build_trainer(context, model)
    if context.options.resume and checkpoints.load(folder, trainer):
        step = trainer.steps_done - trainer.epoch * trainer.steps_per_epoch
        log.info("resuming after epoch %d, step %d", trainer.epoch, step)
    if is_main:
        records.trim_history(folder, trainer.epoch)
    context.options.group.sync_weights(model, trainer.steps_done)
    keep_freed(context.computing.device)
    total_steps = config.recipe.epochs * trainer.steps_per_epoch
    options = context.options.progress
    with track_progress(options if is_main else None, folder, config.attn, trainer.steps_done, total_steps) as progress:
        checkpointer = checkpoints.PeriodicCheckpointer(folder, trainer, options.checkpoint_seconds)

        def on_step() -> None:
            progress.report_step(ends_epoch=trainer.steps_done % trainer.steps_per_epoch == 0)
            if is_main:
                checkpointer.step()
                if options.on_step:
                    options.on_step(trainer)
            if guard:
                guard.finish_step()

        # several processes would end at different steps
        guarding = InterruptGuard(folder, trainer) if context.options.group.size == 1 else nullcontext()
        with closing(trainer.train), record_implementations(trainer.implementations), guarding as guard:
            for record in trainer.epochs(on_step):
                if is_main:
                    records.append_history(folder, record)
                    checkpointer.save()
                if guard:
                    guard.finish_epoch()
                progress.report_epoch(record)
        measures = test_best_weights(context, trainer, model, progress)
        progress.report_test(measures)
    return measures


def _build_trainer(context: RunContext, model: SlotNetwork) -> Trainer:
    """Load the training and validation data, and return a trainer for them."""
    config, data, computing = context.config, context.data, context.computing
    train = load_training(config, data, computing.device, context.options.data)
    _require_trainable_batch(train, data)
    val = load_split(data, "val", config.queries, computing.device, stream=context.options.data.stream)
    trainer = Trainer(
        config.recipe,
        model,
        TrainingSplits(train, val),
        seed=config.seed,
        computing=computing,
        group=context.options.group,
    )
    trainer.eval_batch_sizes = _list_eval_batch_sizes(context, model, trainer.batch)
    if trainer.batch < config.recipe.batch:
        size, unit, wanted = trainer.batch, trainer.batch_unit, config.recipe.batch
        log.warning("the batch is %d %s instead of %d, because the data set has no more", size, unit, wanted)
    return trainer


def _require_trainable_batch(train: Split | OnlineImages, data: Path) -> None:
    if len(train) < MIN_BATCH:
        raise DataProblemError(f"{data}: {len(train)} training question; batch normalisation needs 2 or more")


def _list_eval_batch_sizes(context: RunContext, model: SlotNetwork, batch: int) -> list[int]:
    """Return the batch sizes to try in validation and test. Several processes use one size, so that they agree."""
    device, width = context.computing.device, model.full_size_channels
    kind = device.type if context.options.group.size == 1 else "cpu"
    canvas, is_sampled = context.manifest.variant.canvas, batch_size.draws(model)
    return batch_size.sizes(kind, batch, canvas=canvas, width=width, free=free_memory(device), drawn=is_sampled)
