"""One run, from its configuration to its record: trained and tested, unless it is finished."""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from bench import checkpoints, records, timing
from bench.attention import canonical_name
from bench.checkpoints import load_weights
from bench.computing import Computing
from bench.config import Preset, Recipe, RunConfig
from bench.data import Split, load_split
from bench.evaluate import test
from bench.model import AttributeCNN, build, create_model
from bench.parallel import ALONE, Alone, LostError
from bench.plugins import files_of
from bench.runs import load_config
from bench.train import DivergedError, Trainer
from mnistref.dataset import Manifest, read_manifest
from mnistref.errors import DataProblemError, ProblemError, RunProblemError, UsageProblemError
from mnistref.generate import Request, generate
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
) -> RunConfig:
    """The configuration of a run on a data set, from the weights of the run `init` if it is given.

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
    team: Alone = ALONE,
) -> Path:
    """Train, test and record one run, unless it is finished. → its folder.

    An unfinished one goes on after its last epoch, or, without `resume`, starts again: from the weights of the run
    `init`, which must be those that it was configured with. Raises RunProblemError when the run diverges or fails;
    whatever ends it, the folder then says so too. Of a team every process calls this, and the first writes.
    """
    folder = runs / config.run_id
    manifest = read_manifest(data)
    computing = Computing(torch.device(config.device), config.precision, config.capture)
    team.check(computing)
    model = build(config.attn, manifest.variant, config.seed, computing.device)
    log.info("%s on %s, %s, %s", config.attn, config.dataset, config.training, _where(computing))
    if manifest.variant.note:
        log.info("%s is %s", config.variant, manifest.variant.note)
    if team.tell(lambda: "finished" if resume and records.is_finished(folder) else ""):
        log.info("finished already: %s", folder)
        return folder
    if config.init_weights != (_digest(init / records.WEIGHTS) if init else None):
        raise UsageProblemError(f"{folder}: was configured to start from other weights than those of {init}")
    if init:
        load_weights(init / records.WEIGHTS, model)
    if team.leads:
        places = files_of(config.attn)
        aside = {records.PLACES: places} if places else {}
        records.begin(folder, config.as_dict() | aside, computing, resume, team.size)
    started = time.perf_counter()

    def record(outcome: Mapping[str, Any]) -> None:
        seconds = round(time.perf_counter() - started, 3)
        if team.leads or outcome["status"] == "failed":  # which may be another process alone
            records.write_json(folder / records.RESULT, _result(config, manifest, computing, seconds, outcome))

    try:
        with computing.products():
            outcome = _train_and_test(config, model, manifest.variant, data, folder, computing, resume, team)
    except LostError:  # it says why, and records it
        raise
    except DivergedError as error:
        record({"status": "diverged", "reason": str(error)})
        raise RunProblemError(f"{folder}: diverged: {error}; the learning rate may be too high") from error
    except ProblemError as error:
        record({"status": "failed", "reason": str(error)})
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        record({"status": "failed", "reason": reason})
        raise RunProblemError(f"{folder}: failed: {reason}") from error
    record({"status": "ok", **outcome})
    log.info("test accuracy %.1f %% (chance %.0f %%)", 100 * outcome["accuracy"], 100 / manifest.variant.classes)
    return folder


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
    team: Alone,
) -> dict[str, Any]:
    fades = config.recipe.fade > 0
    train = _enough(load_split(data, "train", config.queries, computing.device, masks=fades), data)
    val = load_split(data, "val", config.queries, computing.device)
    trainer = Trainer(config.recipe, model, train, val, config.seed, computing, team)
    if resume and checkpoints.load(folder, trainer):
        log.info("going on after epoch %d", trainer.epoch)
        if team.leads:
            records.trim_history(folder, trainer.epoch)
    team.begin(model, trainer.epoch * trainer.steps)
    total, quiet = config.recipe.epochs * trainer.steps, None if team.leads else True
    with (
        logging_redirect_tqdm(),
        tqdm(total=total, initial=trainer.epoch * trainer.steps, unit=" steps", disable=quiet, desc=config.attn) as bar,
    ):
        for record in trainer.epochs(on_step=bar.update):
            if team.leads:
                _keep(folder, trainer, record)
    del train, trainer.train
    model.load_state_dict(trainer.best_weights)
    if team.leads:
        checkpoints.save_weights(folder / records.WEIGHTS, model)
    with computing.casting():
        measured = test(model, load_split(data, "test", config.queries, computing.device, masks=True), team)
    return {
        **measured,
        **(_timed(config, model, variant, computing) if team.leads else {}),
        "epochs": trainer.epoch,
        "best_epoch": trainer.best_epoch,
        "val_accuracy": trainer.best_accuracy,
        "params": sum(p.numel() for p in model.parameters()),
    }


def _keep(folder: Path, trainer: Trainer, record: dict[str, Any]) -> None:
    """After an epoch."""
    records.append_history(folder, record)
    checkpoints.save(folder, trainer)
    log.info(
        "epoch %(epoch)3d  loss %(train_loss).3f  train %(train_accuracy).3f  val %(val_accuracy).3f  %(seconds).0f s",
        record,
    )


def _timed(config: RunConfig, model: AttributeCNN, variant: VariantSpec, computing: Computing) -> dict[str, Any]:
    """Time and memory of the network, and its step's time over that of `san`, timed turn by turn with it."""
    models = {config.attn: model}
    if config.attn != "san":
        models["san"] = build("san", variant, config.seed, computing.device)
    timed = timing.measure(models, config.recipe, variant, computing)
    own = timed[config.attn]
    return {**own.as_dict(), "relative_runtime": own.step.over(timed["san"].step).median}


def _enough(train: Split, data: Path) -> Split:
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
