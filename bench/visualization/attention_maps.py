"""A picture of one trained network: a few test images, the map of each slot, and the answer (`bench show`)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.attention import MECHANISMS
from bench.attention.arnn import AttentionRNN
from bench.attribution.map_method import MapMethod
from bench.config import RunConfig, training_stages
from bench.data.sets import DataSet, is_generated
from bench.evaluation.columns import ACCURACY
from bench.evaluation.panels import Panels, describe_totals
from bench.networks.base import SlotNetwork
from bench.runs.data_folder import read_fitting_manifest, resolve_data_folder
from bench.runs.network_loading import find_trained_variant, load_model, read_finished_result
from bench.visualization.examples import (
    DEFAULT_CHOICE,
    SPLIT,
    ImageChoice,
    answer_question,
    choose_images,
    iter_image_questions,
)
from bench.visualization.method_maps import MethodMaps
from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import require_figure_name
from mnistref.spec import VariantSpec

log = logging.getLogger("bench")

MAX_ROWS = 100
IMAGES = 4
SIGMA_SCALE_OF_SEVERAL = 3.0
"""Default factor of σ if several samples are drawn, because σ underestimates the variance (ARNN §4.1)."""


@dataclass(frozen=True)
class MapOptions:
    """Which maps are drawn: those of the network's answers, of which a random mechanism has several; or of a method.

    Attributes:
        number: number of answers to each image, if the mechanism draws its maps at random.
        sigma_scale: factor of σ, 0 or more; by default 1 for one answer and `SIGMA_SCALE_OF_SEVERAL` for more.
        method: draw the map of this method, for the network's answer; None for the network's own maps.
    """

    number: int = 1
    sigma_scale: float | None = None
    method: MapMethod | None = None


OWN_MAPS = MapOptions()


def save_picture(
    run: Path,
    output: Path,
    root: Path,
    data: Path | None = None,
    choice: ImageChoice = DEFAULT_CHOICE,
    maps: MapOptions = OWN_MAPS,
) -> list[Panels]:
    """Draw the attention maps and answers of the network of a run (as PAN Fig. 7 and ARNN Fig. 6).

    Args:
        run: the folder of a finished run.
        output: the path of the picture, in .png, .svg or .pdf. The same arguments give the same bytes.
        root: a folder with datasets/<name>, if the run's data set is not in the root of the run.
        data: another data set with the same numbers of queries and classes, such as an mbgmulti set for a run on mbg.
        choice: the test images; `IMAGES` of them by default.
        maps: which maps are drawn.

    Returns:
        The rows that were drawn.

    Raises:
        UsageProblemError: the run, the data set or an image does not exist, the data set does not fit the network,
            several samples of a mechanism without random maps are requested, the method has no map for this network,
            or matplotlib is missing.
        DataProblemError: the run is unfinished or damaged.
    """
    from bench.visualization.drawing import draw

    require_figure_name(output)
    config, model = load_model(run)
    accuracy = read_finished_result(run)[ACCURACY]
    folder = data or resolve_data_folder(run, config, root)
    trained = find_trained_variant(run)
    manifest = read_fitting_manifest(folder, trained)
    samples, seed, method = maps.number, choice.seed, maps.method
    scale = _scale_sigma(config, model, maps)
    drawn = model if method is None else MethodMaps(model, config.attn, trained.classes, method, seed)
    chosen = choose_images(folder, choice, IMAGES)
    if len(chosen) * samples > MAX_ROWS:
        raise UsageProblemError(f"{len(chosen)} images × {samples} samples: one picture holds {MAX_ROWS} rows at most")
    rows = [
        row
        for question in iter_image_questions(folder, chosen)
        for row in answer_question(drawn, question, manifest, samples, seed)
    ]
    draw(
        rows,
        _title(config, run, accuracy=accuracy, manifest=manifest, scale=scale, seed=seed),
        _notes(config, (trained, manifest.variant), rows, method),
        output,
    )
    is_ordered = not choice.indices and is_generated(folder)
    log.info("picture: %s, %s", _describe_images(len(chosen), is_ordered), describe_totals(rows, samples > 1))
    return rows


def _describe_images(number: int, is_ordered: bool) -> str:
    """Return the number of images in words, and their order if they are ordered by the scale of their digits."""
    order = " from small to large digits" * (is_ordered and number > 1)
    return f"{number} {SPLIT} image{'s' * (number > 1)}{order}"


def _scale_sigma(config: RunConfig, model: nn.Module, maps: MapOptions) -> float | None:
    """Multiply σ in the mechanisms that draw their maps at random.

    Returns:
        The factor; None if the network draws no maps.

    Raises:
        UsageProblemError: several samples or a factor are given for a network that draws no maps.
    """
    samples, sigma_scale = maps.number, maps.sigma_scale
    sampled = isinstance(model, SlotNetwork) and model.spec.is_random
    if not sampled and (samples != 1 or sigma_scale is not None):
        which = ", ".join(m.name for m in MECHANISMS.values() if m.sampled)
        raise UsageProblemError(
            f"{config.attn} draws no samples: its answers are all equal; use {which}, or a class of your own with "
            "sampled = True"
        )
    if samples < 1 or (sigma_scale is not None and not 0 <= sigma_scale < float("inf")):
        raise UsageProblemError(
            f"{samples} samples with σ × {sigma_scale}: give 1 sample or more, and a finite factor of 0 or more"
        )
    drawing = [m for m in model.modules() if isinstance(m, AttentionRNN) and m.sampled]
    if not drawing:
        if sigma_scale is not None:
            raise UsageProblemError(f"{config.attn}: bench cannot scale the σ of this class; omit the factor")
        return 1.0 if sampled else None
    scale = sigma_scale if sigma_scale is not None else SIGMA_SCALE_OF_SEVERAL if samples > 1 else 1.0
    for module in drawing:
        module.sigma_scale *= scale
    return scale


def _title(
    config: RunConfig, run: Path, accuracy: float, manifest: DataSet, scale: float | None, seed: int
) -> list[str]:
    """Return the lines that describe the network, the images, and how the maps were drawn."""
    shown = f"shown: {SPLIT} images of {manifest.folder_name}"
    if manifest.folder_name != config.dataset:
        shown += f"; trained on {config.dataset}"
    lines = [
        f"{config.network_label} on {config.variant}, test accuracy {100 * accuracy:.1f} %",
        f"run {run.resolve().name}, recipe {config.recipe.label}{_after(config)}",
        shown,
    ]
    return lines if scale is None else [*lines, f"maps drawn at random, σ × {scale:g} (seed {seed})"]


def _after(config: RunConfig) -> str:
    """Return the data sets of earlier trainings, the last one first."""
    return "".join(f", after {stage.partition('-')[0]}" for stage in training_stages(config.training)[1:])


def _notes(
    config: RunConfig, variants: Sequence[VariantSpec], rows: Sequence[Panels], method: MapMethod | None = None
) -> list[str]:
    """Return the notes that explain the picture."""
    inside = "attention on the digit: the share of the {} that lies inside the outline."
    has_target = any(row.has_target for row in rows)
    if not rows[0].slots:
        notes = [f"{config.attn} has no attention maps."]
    elif method is not None:
        notes = [f"map: that of {method.name} for the network's answer, coloured from 0 to its maximum."]
        notes += [inside.format("map")] * has_target
    else:
        notes = [
            "slot: its map, coloured from 0 to its maximum, with its range of values; the map of a readout sums to 1.",
            "product: the product of all maps, coloured in the same way.",
        ]
        notes += [inside.format("product")] * has_target
    return notes + [f"{variant.name} is {variant.note}." for variant in dict.fromkeys(variants) if variant.note]
