"""One run, from its configuration to its record: trained and tested, unless it is finished."""

import logging
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.attention.plugins import files_of
from bench.common.memory import free_memory, keep_freed, ran_out
from bench.compute import ComputeConfig, explain_nondeterminism
from bench.config import DEFAULT_DATA_OPTIONS, LEAST_BATCH, DataOptions, RunConfig
from bench.data.loading import load_split
from bench.data.online import OnlineImages, load_training
from bench.data.split import Split
from bench.distributed.process_group import SINGLE_PROCESS, ProcessLostError, SingleProcess
from bench.evaluation import batch_size, snapshots
from bench.evaluation.evaluate import test
from bench.kernels.diagonal_lstm import ImplementationError
from bench.kernels.diagonal_lstm.implementation_log import noted, spelled
from bench.model import AttributeCNN, build, create_model
from bench.profiling import oom, run_cost
from bench.runs import records
from bench.runs.configure import configure, prepare, weights_digest
from bench.runs.environment import commit
from bench.runs.load import load_model
from bench.training import checkpoints
from bench.training.checkpoints import load_fitting
from bench.training.progress import ProgressOptions, watch
from bench.training.trainer import DivergedError, Trainer
from mnistref.common.atomic_files import exclusive, path_to_text
from mnistref.common.errors import DataProblemError, ProblemError, RunProblemError, UsageProblemError
from mnistref.dataset import Manifest, read_manifest
from mnistref.generation.generate import request_of

__all__ = ["configure", "prepare", "run"]

log = logging.getLogger("bench")


@dataclass(frozen=True)
class _Work:
    """A run that is to be done: what, on what, where, and how."""

    config: RunConfig
    data: Path
    folder: Path
    manifest: Manifest
    computing: ComputeConfig
    resume: bool
    init: Path | None
    progress_options: ProgressOptions
    data_options: DataOptions
    group: SingleProcess


def run(
    config: RunConfig,
    data: Path,
    runs: Path,
    resume: bool = True,
    init: Path | None = None,
    progress_options: ProgressOptions | None = None,
    data_options: DataOptions = DEFAULT_DATA_OPTIONS,
    group: SingleProcess = SINGLE_PROCESS,
) -> Path:
    """Train, test and record one run, unless it is finished. → its folder.

    An unfinished one goes on where it was last kept, or, without `resume`, starts again: from the weights of the run
    `init`, which must be those that it was configured with. Another process that is at the same run is waited for. Of a
    group every process calls this, and the first one writes.

    Raises RunProblemError when the run diverges or fails; whatever ends it, the folder then says so too.
    """
    folder, manifest = runs / config.run_id, read_manifest(data)
    computing = ComputeConfig(torch.device(config.device), config.precision, config.capture, config.deterministic)
    work = _Work(
        config,
        data,
        folder,
        manifest,
        computing,
        resume,
        init,
        progress_options or ProgressOptions(),
        data_options,
        group,
    )
    group.check(computing)
    run_cost.timing_rounds()  # an error in it shows before the training, not after
    commit()
    create_model(config.attn, manifest.variant.name, width=config.width)  # what cannot be built leaves no folder
    if group.broadcast(
        lambda: "finished" if resume and records.is_finished(folder) else ""
    ):  # nothing has to be written
        log.info("finished already: %s", folder)
        return folder
    lock = runs / ".locks" / f"{config.run_id}.lock"
    # the others of a group write nothing; the lock is no part of the folder, which may be emptied
    alone = exclusive(lock, folder / checkpoints.FOLDER) if group.is_main else nullcontext()
    with alone:
        if group.broadcast(lambda: "finished" if resume and records.is_finished(folder) else ""):
            log.info("finished already: %s", folder)
        else:
            _run(work)
    return folder


def _run(work: _Work) -> None:
    config, folder, computing, variant = work.config, work.folder, work.computing, work.manifest.variant
    log.info("%s on %s, %s, %s", config.attn, config.dataset, config.training, computing.described)
    if variant.note:
        log.info("%s is %s", config.variant, variant.note)
    model = _begin(work)
    started = time.perf_counter()

    def record(outcome: Mapping[str, Any]) -> None:
        seconds = round(time.perf_counter() - started, 3)
        if work.group.is_main or outcome["status"] == "failed":  # which may be another process alone
            records.write_json(
                folder / records.RESULT, records.result(config, work.manifest, computing, seconds, outcome)
            )

    crowded = False
    try:
        with computing.backend_flags(tuned=config.recipe.questions != "all"):
            outcome = _train_and_test(work, model)
    except ProcessLostError:  # it says why, and records it
        raise
    except DivergedError as error:
        record({"status": "diverged", "reason": str(error)})
        raise RunProblemError(f"{folder}: diverged: {error}; the learning rate may be too high") from error
    except ProblemError as error:
        record({"status": "failed", "reason": str(error)})
        raise
    except ImplementationError as error:
        record({"status": "failed", "reason": str(error)})
        raise UsageProblemError(str(error)) from error
    except (Exception, SystemExit) as error:  # user code may raise what it likes
        crowded = ran_out(error)
        if not crowded:
            reason = explain_nondeterminism(error) or f"{type(error).__name__}: {error}"
            record({"status": "failed", "reason": reason})
            raise RunProblemError(f"{folder}: failed: {reason}") from error
    if crowded:  # the error, and with it the tensors of its frames, is gone by now
        del model
        reason = oom.describe_out_of_memory(config, variant, computing, work.group.size)
        record({"status": "failed", "reason": reason})
        raise RunProblemError(f"{folder}: failed: {reason}")
    record({"status": "ok", **outcome})
    log.info("test accuracy %.1f %% (chance %.0f %%)", 100 * outcome["accuracy"], 100 / variant.classes)


def _begin(work: _Work) -> AttributeCNN:
    """The network as it starts, and the run's folder."""
    config, init = work.config, work.init
    if config.init_weights != (weights_digest(init / records.WEIGHTS) if init else None):
        raise UsageProblemError(f"{work.folder}: was configured to start from other weights than those of {init}")
    before = load_model(init)[1].state_dict() if init else {}
    model = build(config.attn, work.manifest.variant, config.seed, work.computing.device, config.width)
    if init:
        anew, left_out = map(", ".join, load_fitting(before, model))
        if anew:
            log.info("begins anew, as nothing of %s fits: %s", init.name, anew)
        if left_out:
            log.info("left out of %s: %s", init.name, left_out)
    if work.group.is_main:
        aside = _aside(config, work.manifest, init)
        records.begin(work.folder, config.as_dict() | aside, work.computing, work.resume, work.group.size)
    return model


def _aside(config: RunConfig, manifest: Manifest, init: Path | None) -> dict[str, Any]:
    """What config.json holds besides the configuration, see `records.ASIDE`."""
    places = files_of(config.attn)
    return {
        **({records.PLACES: places} if places else {}),
        records.REQUEST: request_of(manifest),
        **({records.INIT: path_to_text(init.resolve())} if init else {}),
    }


def _train_and_test(work: _Work, model: AttributeCNN) -> dict[str, Any]:
    config, data, folder, computing, is_main = work.config, work.data, work.folder, work.computing, work.group.is_main
    train = _enough(load_training(config, data, computing.device, work.data_options), data)
    val = load_split(data, "val", config.queries, computing.device, stream=work.data_options.stream)
    sizes = partial(_sizes, work, model)
    trainer = Trainer(config.recipe, model, train, val, config.seed, computing, work.group, sizes)
    if trainer.batch < config.recipe.batch:
        log.info("a step takes %d %s, not %d: there are no more", trainer.batch, trainer.units, config.recipe.batch)
    del train, val  # which the test needs no more, and the trainer gives up by then
    if work.resume and checkpoints.load(folder, trainer):
        log.info("going on after epoch %d, step %d", trainer.epoch, trainer.done - trainer.epoch * trainer.steps)
    if is_main:
        records.trim_history(folder, trainer.epoch)
    work.group.sync_weights(model, trainer.done)
    keep_freed(computing.device)
    total = config.recipe.epochs * trainer.steps
    progress_options = work.progress_options if is_main else None
    with watch(progress_options, folder, config.attn, trainer.done, total) as watcher:
        keeper = checkpoints.PeriodicCheckpointer(folder, trainer, work.progress_options.every)

        def on_step() -> None:
            watcher.step()
            if is_main:
                keeper.step()
                if work.progress_options.look:
                    work.progress_options.look(trainer)

        with closing(trainer.train), noted(trainer.ran):
            for record in trainer.epochs(on_step):
                if is_main:
                    records.append_history(folder, record)
                    keeper.keep()
                watcher.epoch(record)
        outcome = _test(work, trainer, model)
        watcher.tested(outcome)
    return outcome


def _sizes(work: _Work, model: AttributeCNN, batch: int) -> list[int]:
    """Return how many images at a time to try in validation and test. Several processes try one size alone."""
    device = work.computing.device
    kind = device.type if work.group.size == 1 else "cpu"
    canvas, drawn = work.manifest.variant.canvas, batch_size.draws(model)
    return batch_size.sizes(kind, batch, canvas, work.config.width, free_memory(device), drawn)


def _test(work: _Work, trainer: Trainer, model: AttributeCNN) -> dict[str, Any]:
    """Of the best epoch: its weights kept, its measures, and what the network run_cost."""
    config, computing, group = work.config, work.computing, work.group
    del trainer.train
    model.load_state_dict(trainer.best_weights)
    if group.is_main:
        checkpoints.save_weights(work.folder / records.WEIGHTS, model)
    split = load_split(work.data, "test", config.queries, computing.device, True, work.data_options.stream)
    with computing.autocast(), noted(trainer.ran):
        tested = batch_size.in_memory(trainer.sizes, lambda size: test(model, split, size, group))
        if group.is_main:
            records.write_answers(work.folder, tested.answers)
            snapshots.write_snapshots(work.folder, snapshots.take_snapshots(model, split, work.manifest.variant))
    return {
        **tested.measures,
        **(
            run_cost.measure_cost(config, model, work.manifest.variant, computing, trainer.batch)
            if group.is_main
            else {}
        ),
        "epochs": trainer.epoch,
        "best_epoch": trainer.best_epoch,
        "val_accuracy": trainer.best_accuracy,
        "params": sum(p.numel() for p in model.parameters()),
        "diagonal_lstm": spelled(trainer.ran),
    }


def _enough(train: Split | OnlineImages, data: Path) -> Split | OnlineImages:
    if len(train) < LEAST_BATCH:
        raise DataProblemError(f"{data}: {len(train)} training question; batch normalisation needs 2 or more")
    return train
