"""One run, from its configuration to its record: trained and tested, unless it is finished."""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from bench import checkpoints, outofmemory, records, timing
from bench.attention import canonical_name
from bench.checkpoints import load_weights
from bench.computing import Computing
from bench.config import AS_IT_FITS, Preset, Recipe, RunConfig, Supply
from bench.data import load_split
from bench.evaluate import BATCH, test
from bench.memory import keep_freed
from bench.model import AttributeCNN, build, create_model
from bench.online import Online, load_training
from bench.plugins import files_of
from bench.runs import load_config
from bench.split import Split
from bench.train import DivergedError, Trainer
from bench.watch import Watching, watch
from mnistref.dataset import Manifest, read_manifest
from mnistref.errors import DataProblemError, ProblemError, RunProblemError, UsageProblemError
from mnistref.files import exclusive
from mnistref.generate import Request, generate, request_of
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant
from mnistref.version import VERSION

log = logging.getLogger("bench")


def prepare(
    preset: Preset, attns: Sequence[str], variant: str | None, root: Path, digits: str | None, backgrounds: str
) -> Path:
    """The data set that a preset, or what the user says instead, calls for: found, or made. → its folder."""
    chosen = get_variant(variant or preset.variant)
    if not chosen.trainable:
        raise UsageProblemError(f"{chosen.name} cannot be trained on: it is {chosen.note}")
    for attn in attns:
        create_model(attn, chosen.name)  # what cannot be built must not cost a data set
    return generate(Request(chosen.name, root, 0, preset.sizes, digits or preset.digits, backgrounds))


def configure(
    data: Path,
    attn: str,
    seed: int,
    recipe: Recipe,
    queries: str,
    computing: Computing,
    init: Path | None = None,
    online: bool = False,
) -> RunConfig:
    """The configuration of a run on a data set, or on its like drawn `online`, from the weights of the run `init` if it
    is given.

    A usage error where the set cannot train a network, or where the other run was of another mechanism.
    """
    manifest = read_manifest(data)
    variant = manifest.variant
    if not variant.trainable:
        raise UsageProblemError(f"{variant.name} cannot be trained on: it is {variant.note}")
    attn = canonical_name(attn)
    before = load_config(init) if init else None
    if before and before.attn != attn:
        raise UsageProblemError(f"--init {init}: a run of {before.attn}; its weights do not fit {attn}")
    return RunConfig(
        attn,
        variant.name,
        manifest.folder_name,
        seed,
        recipe,
        queries,
        computing.precision,
        computing.device.type,
        computing.capture,
        f"{before.variant},{before.training}" if before else None,
        _digest(init / records.WEIGHTS) if init else None,
        online,
    )


def _digest(weights: Path) -> str:
    if not weights.is_file():
        raise UsageProblemError(f"{weights}: no weights here; --init takes the folder of a finished run")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


def run(
    config: RunConfig,
    data: Path,
    runs: Path,
    resume: bool = True,
    init: Path | None = None,
    watching: Watching | None = None,
    supply: Supply = AS_IT_FITS,
) -> Path:
    """Train, test and record one run, unless it is finished. → its folder.

    An unfinished one goes on where it was last kept, or, without `resume`, starts again: from the weights of the run
    `init`, which must be those that it was configured with. Another process that is at the same run is waited for.

    Raises RunProblemError when the run diverges or fails; whatever ends it, the folder then says so too.
    """
    folder = runs / config.run_id
    create_model(config.attn, read_manifest(data).variant.name)  # what cannot be built leaves no folder
    with exclusive(runs / ".locks" / f"{config.run_id}.lock", folder / checkpoints.FOLDER):
        if resume and records.is_finished(folder):
            log.info("finished already: %s", folder)
        else:
            _run(config, data, folder, resume, init, watching or Watching(), supply)
    return folder


def _run(
    config: RunConfig,
    data: Path,
    folder: Path,
    resume: bool,
    init: Path | None,
    watching: Watching,
    supply: Supply,
) -> None:
    manifest = read_manifest(data)
    computing = Computing(torch.device(config.device), config.precision, config.capture)
    model = build(config.attn, manifest.variant, config.seed, computing.device)
    log.info("%s on %s, %s, %s", config.attn, config.dataset, config.training, _where(computing))
    if manifest.variant.note:
        log.info("%s is %s", config.variant, manifest.variant.note)
    if config.init_weights != (_digest(init / records.WEIGHTS) if init else None):
        raise UsageProblemError(f"{folder}: was configured to start from other weights than those of {init}")
    if init:
        load_weights(init / records.WEIGHTS, model)
    records.begin(folder, config.as_dict() | _aside(config, manifest, init), computing, resume)
    started = time.perf_counter()

    def record(outcome: Mapping[str, Any]) -> None:
        seconds = round(time.perf_counter() - started, 3)
        records.write_json(folder / records.RESULT, _result(config, manifest, computing, seconds, outcome))

    crowded = False
    try:
        with computing.products():
            how = resume, watching, supply
            outcome = _train_and_test(config, model, manifest.variant, data, folder, computing, *how)
    except DivergedError as error:
        record({"status": "diverged", "reason": str(error)})
        raise RunProblemError(f"{folder}: diverged: {error}; the learning rate may be too high") from error
    except ProblemError as error:
        record({"status": "failed", "reason": str(error)})
        raise
    except Exception as error:
        crowded = outofmemory.ran_out(error)
        if not crowded:
            reason = f"{type(error).__name__}: {error}"
            record({"status": "failed", "reason": reason})
            raise RunProblemError(f"{folder}: failed: {reason}") from error
    if crowded:  # the error, and with it the tensors of its frames, is gone by now
        del model
        reason = outofmemory.advice(config.attn, manifest.variant, config.recipe, computing)
        record({"status": "failed", "reason": reason})
        raise RunProblemError(f"{folder}: failed: {reason}")
    record({"status": "ok", **outcome})
    log.info("test accuracy %.1f %% (chance %.0f %%)", 100 * outcome["accuracy"], 100 / manifest.variant.classes)


def _aside(config: RunConfig, manifest: Manifest, init: Path | None) -> dict[str, Any]:
    """What config.json holds besides the configuration, see `records.ASIDE`."""
    places = files_of(config.attn)
    return {
        **({records.PLACES: places} if places else {}),
        records.REQUEST: request_of(manifest),
        **({records.INIT: str(init.resolve())} if init else {}),
    }


def _where(computing: Computing) -> str:
    threads = f" ({torch.get_num_threads()} threads)" if computing.device.type == "cpu" else ""
    return f"device: {computing.device_name}{threads}"


def _train_and_test(
    config: RunConfig,
    model: AttributeCNN,
    variant: VariantSpec,
    data: Path,
    folder: Path,
    computing: Computing,
    resume: bool,
    watching: Watching,
    supply: Supply,
) -> dict[str, Any]:
    train = _enough(load_training(config, data, computing.device, supply), data)
    val = load_split(data, "val", config.queries, computing.device, stream=supply.stream)
    trainer = Trainer(config.recipe, model, train, val, config.seed, computing)
    del train  # which the test needs no more, and the trainer gives up by then
    if resume and checkpoints.load(folder, trainer):
        log.info("going on after epoch %d, step %d", trainer.epoch, trainer.done - trainer.epoch * trainer.steps)
        records.trim_history(folder, trainer.epoch)
    if computing.device.type == "cpu":
        keep_freed()
    keeper = checkpoints.Keeper(folder, trainer, watching.every)
    total = config.recipe.epochs * trainer.steps
    with closing(trainer.train), watch(watching, folder, config.attn, trainer.done, total) as watcher:

        def on_step() -> None:
            watcher.step()
            keeper.step()

        for record in trainer.epochs(on_step):
            records.append_history(folder, record)
            keeper.keep()
            watcher.epoch(record)
        outcome = _test(config, variant, data, folder, trainer, supply)
        watcher.tested(outcome)
    return outcome


def _test(
    config: RunConfig, variant: VariantSpec, data: Path, folder: Path, trainer: Trainer, supply: Supply
) -> dict[str, Any]:
    """Of the best epoch: its weights kept, its measures, and what the network costs."""
    model, computing = trainer.model, trainer.computing
    assert isinstance(model, AttributeCNN)
    del trainer.train
    model.load_state_dict(trainer.best_weights)
    checkpoints.save_weights(folder / records.WEIGHTS, model)
    with computing.casting():
        split = load_split(data, "test", config.queries, computing.device, True, supply.stream)
        measured = test(model, split, min(BATCH, trainer.batch))
    return {
        **measured,
        **_timed(config, model, variant, computing),
        "epochs": trainer.epoch,
        "best_epoch": trainer.best_epoch,
        "val_accuracy": trainer.best_accuracy,
        "params": sum(p.numel() for p in model.parameters()),
    }


def _timed(config: RunConfig, model: AttributeCNN, variant: VariantSpec, computing: Computing) -> dict[str, Any]:
    """Time and memory of the network, and its step's time over that of `san`, timed turn by turn with it."""
    models = {config.attn: model}
    if config.attn != "san":
        models["san"] = build("san", variant, config.seed, computing.device)
    timed = timing.measure(models, config.recipe, variant, computing)
    own = timed[config.attn]
    return {**own.as_dict(), "relative_runtime": own.step.over(timed["san"].step).median}


def _enough(train: Split | Online, data: Path) -> Split | Online:
    if len(train) < 2:
        raise DataProblemError(f"{data}: {len(train)} training question; batch normalisation needs 2 or more")
    return train


def _result(
    config: RunConfig, manifest: Manifest, computing: Computing, seconds: float, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    """result.json: what was run on what, what came of it, and where."""
    note = manifest.variant.note
    return {
        "status": outcome["status"],
        "attn": config.attn,
        "variant": config.variant,
        **({"note": note} if note else {}),
        "seed": config.seed,
        "recipe": config.training,
        "queries": config.queries,
        "dataset": {
            "spec_id": manifest.spec_id,
            "digits": manifest.digits.name,
            "backgrounds": manifest.backgrounds.name if manifest.backgrounds else None,
        },
        **{key: value for key, value in outcome.items() if key != "status"},
        "device": computing.device_name,
        "precision": config.precision,
        "capture": config.capture,
        "seconds": seconds,
        "bench_version": VERSION,
    }
