"""Pictures of where a trained network looks: a few test images, each slot's map, and the answer (`bench show`)."""

import logging
from collections.abc import Sequence
from pathlib import Path

from bench.attention import MECHANISMS, slots_of
from bench.attention.arnn import AttentionRNN
from bench.config import RunConfig, stages
from bench.evaluation.panels import Panels, tally
from bench.model import AttributeCNN
from bench.runs.load import load_model, load_result
from bench.visualization.examples import SPLIT, answers, choose, data_of, fitting, questions
from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import check_name
from mnistref.dataset import Manifest
from mnistref.variants import get_variant

log = logging.getLogger("bench")

MAX_ROWS = 100
IMAGES = 4
WIDENED = 3.0
"""By what σ is multiplied where several samples are drawn: it underestimates the variance (ARNN §4.1)."""


def save_picture(
    run: Path,
    output: Path,
    root: Path,
    data: Path | None = None,
    images: int = IMAGES,
    samples: int = 1,
    sigma_scale: float | None = None,
    seed: int = 0,
    indices: Sequence[int] | None = None,
) -> list[Panels]:
    """Draw where the network of a run looks, and what it answers (as PAN Fig. 7 and ARNN Fig. 6). → the rows drawn.

    Args:
        run: the folder of a finished run.
        output: the picture's name, in .png, .svg or .pdf. The same arguments give the same bytes.
        root: where the run's data set lies, as datasets/<name>, if not in the root that the run itself lies in.
        data: another data set, with as many queries and classes, such as an mbgmulti set for a run on mbg.
        images: how many test images, spread over the scales of the digits asked about, chosen by `seed`.
        samples: how often each image is answered, by a mechanism that draws its map anew each time.
        sigma_scale: σ of what is drawn is multiplied with it, ≥ 0; by default 1 for one sample, `WIDENED` for more.
        seed: of the choice of images and of the samples.
        indices: these images of the test split, in place of a choice.

    Raises:
        UsageProblemError: no run or data set there, one that does not fit the network, no such image, several samples
            of a mechanism that draws none, or no matplotlib. DataProblemError: the run is unfinished or damaged.
    """
    from bench.visualization.drawing import draw

    check_name(output)
    config, model = load_model(run)
    accuracy = load_result(run)["accuracy"]
    folder = data or data_of(run, config, root)
    manifest = fitting(folder, config)
    scale = _widen(config, model, samples, sigma_scale)
    chosen = choose(folder, images, seed, indices)
    if len(chosen) * samples > MAX_ROWS:
        raise UsageProblemError(f"{len(chosen)} images × {samples} samples: one picture holds {MAX_ROWS} rows at most")
    rows = [row for question in questions(folder, chosen) for row in answers(model, question, manifest, samples, seed)]
    draw(rows, _title(config, run, accuracy, manifest, scale, seed), _notes(config, manifest, rows), output)
    log.info("%s", tally(rows))
    return rows


def _widen(config: RunConfig, model: AttributeCNN, samples: int, sigma_scale: float | None) -> float | None:
    """Multiply σ where the network draws its maps. → by what; None for a network that draws none.

    Several samples, or a σ, for such a one are a usage error.
    """
    sampled = any(slot.sampled for slot in slots_of(config.attn, len(model.stages)))
    if not sampled and (samples != 1 or sigma_scale is not None):
        which = ", ".join(m.name for m in MECHANISMS.values() if m.sampled)
        raise UsageProblemError(
            f"{config.attn} draws no samples, every answer is the same; these do: {which}, and classes of one's own "
            "with the attribute sampled = True"
        )
    if samples < 1 or (sigma_scale is not None and not 0 <= sigma_scale < float("inf")):
        raise UsageProblemError(
            f"{samples} samples with σ × {sigma_scale}: give 1 sample or more, and 0 or more times σ"
        )
    drawing = [m for m in model.modules() if isinstance(m, AttentionRNN) and m.sampled]
    if not drawing:
        if sigma_scale is not None:
            raise UsageProblemError(f"{config.attn}: its σ is its own, and cannot be scaled; leave the scale out")
        return 1.0 if sampled else None
    scale = sigma_scale if sigma_scale is not None else WIDENED if samples > 1 else 1.0
    for module in drawing:
        module.sigma_scale *= scale
    return scale


def _title(
    config: RunConfig, run: Path, accuracy: float, manifest: Manifest, scale: float | None, seed: int
) -> list[str]:
    """What the network is, which images these are, and how the maps were drawn."""
    shown = f"shown: {SPLIT} images of {manifest.folder_name}"
    if manifest.folder_name != config.dataset:
        shown += f"; trained on {config.dataset}"
    lines = [
        f"{config.attn} on {config.variant}, test accuracy {100 * accuracy:.1f} %",
        f"run {run.resolve().name}, recipe {config.recipe.label}{_after(config)}",
        shown,
    ]
    return lines if scale is None else [*lines, f"maps drawn at random, σ × {scale:g} (seed {seed})"]


def _after(config: RunConfig) -> str:
    """On what it was trained before, the last one first."""
    return "".join(f", after {stage.partition('-')[0]}" for stage in stages(config.training)[1:])


def _notes(config: RunConfig, manifest: Manifest, rows: Sequence[Panels]) -> list[str]:
    """What one must know to read the picture."""
    if not rows[0].slots:
        notes = [f"{config.attn} has no maps: it does not say to which places it attends."]
    else:
        notes = [
            "slot: its map, coloured from 0 to its maximum, with its least and greatest value; the last sums to 1.",
            "product: of all maps, coloured likewise.",
            "attention on the digit: the share of the product inside the outline.",
        ]
    noted = dict.fromkeys((get_variant(config.variant), manifest.variant))
    return notes + [f"{variant.name} is {variant.note}." for variant in noted if variant.note]
