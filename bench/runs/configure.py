"""The data set and the configuration of a run, from the choices of a user."""

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.attention import NetworkSpec
from bench.compute import ComputeConfig
from bench.config import Preset, Recipe, RunConfig
from bench.data.sets import read_manifest
from bench.distributed.process_group import is_launched_by_torchrun
from bench.networks import resolve
from bench.runs import records
from bench.runs.network_loading import load_config
from bench.tasks import TaskSpec
from bench.training.capture_mode import resolve_capture
from mnistref.common.errors import UsageProblemError
from mnistref.generation.generate import Request, generate
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant

log = logging.getLogger("bench")


@dataclass(frozen=True)
class RunSettings:
    """The choices for a run other than its network, data set and seed.

    Attributes:
        recipe: how the network is trained.
        queries: which questions are used, "one" per image or "all".
        computing: device, precision and capture mode, which may be "auto".
        init: folder of the run whose weights are the initial weights, or None.
        online: whether new images are generated in each epoch, see `bench.data.online`.
    """

    recipe: Recipe
    queries: str
    computing: ComputeConfig
    init: Path | None = None
    online: bool = False


def prepare_dataset(preset: Preset, variant: str | None, root: Path, digits: str | None, backgrounds: str) -> Path:
    """Return the folder of the data set of a preset. Generate the data set if it does not exist.

    Args:
        preset: default variant, sizes and digits.
        variant: replaces the preset's variant.
        root: folder of all data.
        digits: replaces the preset's source of digits.
        backgrounds: source of backgrounds.

    Raises:
        UsageProblemError: the variant cannot be used for training.
    """
    chosen = get_variant(variant or preset.variant)
    _require_trainable(chosen)
    digits = digits or preset.digits
    return generate(Request(chosen.name, root, seed=0, sizes=preset.sizes, digits=digits, backgrounds=backgrounds))


def configure(data: Path, network: str | NetworkSpec, seed: int, settings: RunSettings) -> RunConfig:
    """Return the configuration of a run. Log one line if the capture mode "auto" becomes "eager" on CUDA.

    Args:
        data: folder of the data set.
        network: a resolved network, or a slot list for the default network.
        seed: seed of the run.
        settings: all other choices.

    Raises:
        UsageProblemError: the data set cannot be used for training; the initial weights are missing, or are those of
            another mechanism, network or width; or "graph" is chosen and the steps have different numbers of questions.
    """
    manifest = read_manifest(data)
    variant, computing, recipe = manifest.variant, settings.computing, settings.recipe
    _require_trainable(variant)
    if settings.online and settings.queries == "author" and recipe.questions != "one":
        raise UsageProblemError("--online makes new images for each epoch, so --queries author needs --questions one")
    if recipe.fade and isinstance(variant, TaskSpec) and not variant.has_masks:
        raise UsageProblemError(
            f"--fade brightens everything except the object; {variant.name} has no masks of objects"
        )
    if isinstance(network, str):
        network = resolve(network)
    capture, reason = resolve_capture(
        computing.capture,
        computing.device.type,
        network=network,
        variant=variant,
        recipe=recipe,
        distributed=is_launched_by_torchrun(),
    )
    if reason:
        _log_once(reason)
    if asked_twice := _describe_repeats(variant, recipe):
        _log_once(asked_twice)
    initial = _load_initial_config(settings.init, network) if settings.init else None
    return RunConfig(
        attn=network.name,
        variant=variant.name,
        dataset=manifest.folder_name,
        seed=seed,
        recipe=recipe,
        queries=settings.queries,
        precision=computing.precision,
        device=computing.device.type,
        capture=capture,
        init=f"{initial.dataset},{initial.training}" if initial else None,
        init_weights=hash_weights(settings.init / records.WEIGHTS) if settings.init else None,
        online=settings.online,
        deterministic=computing.deterministic,
        width=network.width,
        network=network.architecture,
    )


def _describe_repeats(variant: VariantSpec | TaskSpec, recipe: Recipe) -> str:
    """Return that steps ask some questions twice, because images may have fewer than a step asks; "" otherwise."""
    if isinstance(recipe.questions, str) or isinstance(variant, TaskSpec) or not variant.asks:
        return ""
    fewest = variant.digits[0] if variant.query == "class" else 1  # a colour is asked if one digit has it
    if recipe.questions <= fewest:
        return ""
    return (
        f"--questions {recipe.questions}: some images have {fewest} question{'s' * (fewest > 1)}; "
        "a step asks questions of such images twice"
    )


def _require_trainable(variant: VariantSpec) -> None:
    if not variant.trainable:
        raise UsageProblemError(f"{variant.name} cannot be used for training: it is {variant.note}")


def _load_initial_config(init: Path, network: NetworkSpec) -> RunConfig:
    """Return the configuration of the run with the initial weights.

    Raises:
        UsageProblemError: it is of another mechanism, network or width.
    """
    initial = load_config(init)
    if initial.attn != network.name:
        raise UsageProblemError(
            f"--init {init}: this is a run of {initial.attn}; its weights do not fit {network.name}"
        )
    if initial.network != network.architecture:
        raise UsageProblemError(
            f"--init {init}: this is a run of the network {initial.network}; its weights do not fit "
            f"{network.architecture}"
        )
    if initial.width != network.width:
        raise UsageProblemError(
            f"--init {init}: its network has width {initial.width}, and its weights fit no other width; "
            f"use --width {initial.width}"
        )
    return initial


def hash_weights(weights: Path) -> str:
    """Return the first 12 digits of the SHA-256 of a file of weights.

    Raises:
        UsageProblemError: the file does not exist.
    """
    if not weights.is_file():
        raise UsageProblemError(f"{weights}: no weights here; --init takes the folder of a finished run")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


@lru_cache
def _log_once(line: str) -> None:
    """Log a line once, instead of once for each run of a sweep."""
    log.info("%s", line)
