"""Map methods on a finished run: load the network and the questions, explain them, and write the record."""

import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from bench.attribution.explain import ExplanationOptions, explain
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.map_method import MapMethod
from bench.attribution.randomization import cascade, layers_from_the_answer
from bench.attribution.sheet import draw_sheet
from bench.compute import ComputeConfig
from bench.config import RunConfig
from bench.data.loading import load_split
from bench.data.split import Split
from bench.evaluation.snapshots import choose_questions
from bench.runs.network_loading import find_trained_variant, load_model
from bench.runs.saliency_record import (
    RECORD,
    SHEET,
    SHEET_IMAGES,
    SHEET_TILE_PIXELS,
    SaliencyRecord,
    saliency_content,
)
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError, UsageProblemError

log = logging.getLogger("bench")

_SHEET_QUALITY = 70


def explain_run(
    run: Path,
    data: Path,
    methods: Sequence[MapMethod],
    images: int,
    options: ExplanationOptions,
    computing: ComputeConfig,
) -> SaliencyRecord:
    """Measure the maps of each method on the first test questions, and write the record into the folder of the run.

    Args:
        run: the folder of a finished run.
        data: the folder of its data set.
        methods: the methods.
        images: number of test questions, one about each image; all if there are fewer.
        options: how maps are made.
        computing: the device.

    Raises:
        UsageProblemError: the folder is not a run, Captum is missing, or no method has a map for this network.
        DataProblemError: the run is not finished, has no weights, or a file is damaged; or a map is not finite.
    """
    config, network, split = load_explained(run, data, images, computing)
    bar = tqdm(total=len(split) * len(methods), unit=" maps", desc="maps", disable=None)
    try:
        with computing.backend_flags(), bar:
            explanation = explain(network, split, methods, options, bar.update)
    except ValueError as error:
        raise DataProblemError(f"{run}: {error}") from error
    missing = [method for method in methods if method.name not in explanation.measures]
    if len(missing) == len(methods):
        absence = " and ".join(method.absence for method in missing)
        raise UsageProblemError(f"{run}: {config.attn} has {absence}; choose other methods with --map")
    for method in missing:
        log.info("%s has no map by %s", config.attn, method.name)
    with computing.backend_flags():
        sheet = _draw_examples(network, split, methods, options)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "WEBP", quality=_SHEET_QUALITY, method=6)
    write_whole(run / SHEET, file.getvalue())
    content = saliency_content(data.name, explanation, options, computing.device_name, _captum_version())
    return RECORD.write(run, content)


def _draw_examples(
    network: ExplainedNetwork, split: Split, methods: Sequence[MapMethod], options: ExplanationOptions
) -> np.ndarray:
    """Return the sheet of a few images, from small to large digits, and their maps by each method."""
    chosen = torch.tensor(choose_questions(split, SHEET_IMAGES, options.seed))
    examples = select_questions(split, chosen.to(split.device))
    kept = replace(options, curves=False, keeps_maps=True)
    maps = explain(network, examples, [method for method in methods if not method.is_baseline], kept).maps
    every = torch.arange(len(examples), device=split.device)
    return draw_sheet(examples.batch(every).images.cpu(), examples.masks(every).cpu(), maps, SHEET_TILE_PIXELS)


def randomize_run(
    run: Path,
    data: Path,
    methods: Sequence[MapMethod],
    images: int,
    options: ExplanationOptions,
    computing: ComputeConfig,
) -> list[tuple[str, dict[str, float]]]:
    """Return, for each randomised layer, the mean correlation of each method's maps with those of the trained network.

    See `explain_run` for arguments and errors. Baselines are left out. Every batch sees the same random weights.
    """
    config, network, split = load_explained(run, data, images, computing)
    chosen = [method for method in methods if not method.is_baseline]
    batches = torch.arange(len(split), device=split.device).split(options.batch)
    layers = [name for name, _ in layers_from_the_answer(network.network)]
    if not layers:
        raise UsageProblemError(f"--randomize: {config.attn} has no layers with weights that can be randomised")
    found: dict[str, dict[str, list[Tensor]]] = {layer: {} for layer in layers}
    bar = tqdm(total=len(layers) * len(batches), unit=" layers", desc="randomising", disable=None)
    with computing.backend_flags(), bar:
        for indices in batches:
            for layer, correlations in cascade(network, split.batch(indices), chosen, options.seed):
                for method, values in correlations.items():
                    found[layer].setdefault(method, []).append(values)
                bar.update()
    if not any(found.values()):
        raise UsageProblemError(f"{run}: {config.attn} has no map by these methods; choose other methods with --map")
    return [
        (layer, {method: float(torch.cat(parts).mean()) for method, parts in methods_of_layer.items()})
        for layer, methods_of_layer in found.items()
    ]


def load_explained(
    run: Path, data: Path, images: int, computing: ComputeConfig, needs_masks: bool = True
) -> tuple[RunConfig, ExplainedNetwork, Split]:
    """Return the configuration of a finished run, its network, and the first test questions, one about each image.

    Args:
        run: the folder of the run.
        data: the folder of its data set.
        images: number of test questions; all if there are fewer.
        computing: the device.
        needs_masks: whether the questions need masks. The masks that there are, are loaded in any case.

    Raises:
        UsageProblemError: the images need masks and have none.
        UsageProblemError, DataProblemError: see `bench.runs.network_loading.load_model`.
    """
    config, model = load_model(run)
    whole = load_split(data, "test", "one", computing.device, masks=True)
    if needs_masks and not whole.has_masks:
        raise UsageProblemError(f"{data}: its images have no masks, by which maps and attacks are measured")
    split = select_questions(whole, torch.arange(min(images, len(whole)), device=whole.device))
    return config, ExplainedNetwork(model.to(computing.device), find_trained_variant(run).classes), split


def select_questions(split: Split, indices: Tensor) -> Split:
    """Return the questions `indices`, i8, of a split."""
    return replace(
        split,
        image=split.image[indices],
        slot=split.slot[indices],
        query=split.query[indices],
        label=split.label[indices],
        scale=None if split.scale is None else split.scale[indices],
    )


def _captum_version() -> str:
    try:
        from importlib.metadata import version

        return version("captum")
    except ImportError:
        return ""
