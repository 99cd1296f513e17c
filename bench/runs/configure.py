"""What a user asks for → the data set of a run, and its configuration."""

import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from bench.attention import canonical_name
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH, Preset, Recipe, RunConfig
from bench.distributed.process_group import is_launched_by_torchrun
from bench.model import create_model
from bench.runs import records
from bench.runs.load import load_config
from bench.training.capture import resolved
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_manifest
from mnistref.generation.generate import Request, generate
from mnistref.variants import get_variant

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
    computing: ComputeConfig,
    init: Path | None = None,
    online: bool = False,
    width: int = DEFAULT_WIDTH,
) -> RunConfig:
    """The configuration of a run on a data set, or on its like drawn `online`, of a network of so many channels, from
    the weights of the run `init` if it is given. Where `computing` leaves the capture open, it is chosen, and one line
    says why it is not "graph" on CUDA.

    A usage error where the set cannot train a network, where the other run was of another mechanism or width, or where
    a CUDA graph would have to hold another number of questions in each step.
    """
    manifest = read_manifest(data)
    variant = manifest.variant
    if not variant.trainable:
        raise UsageProblemError(f"{variant.name} cannot be trained on: it is {variant.note}")
    attn = canonical_name(attn)
    capture, why = resolved(computing.capture, computing.device.type, attn, variant, recipe, is_launched_by_torchrun())
    if why:
        _say(why)
    before = load_config(init) if init else None
    if before and before.attn != attn:
        raise UsageProblemError(f"--init {init}: a run of {before.attn}; its weights do not fit {attn}")
    if before and before.width != width:
        own = f"a network of width {before.width}, whose weights fit no other"
        raise UsageProblemError(f"--init {init}: {own}; give --width {before.width} too")
    return RunConfig(
        attn,
        variant.name,
        manifest.folder_name,
        seed,
        recipe,
        queries,
        computing.precision,
        computing.device.type,
        capture,
        f"{before.dataset},{before.training}" if before else None,
        weights_digest(init / records.WEIGHTS) if init else None,
        online,
        computing.deterministic,
        width,
    )


def weights_digest(weights: Path) -> str:
    """Return what names the weights in a file. A usage error where there are none."""
    if not weights.is_file():
        raise UsageProblemError(f"{weights}: no weights here; --init takes the folder of a finished run")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


@lru_cache
def _say(line: str) -> None:
    """Tell the user something once, and not for each run of a sweep."""
    log.info("%s", line)
