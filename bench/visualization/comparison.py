"""A picture of several trained networks: the attention map and the answer of each on the same test images."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.attribution.map_method import MapMethod
from bench.config import RunConfig
from bench.evaluation.columns import ACCURACY
from bench.evaluation.panels import Panels, describe_totals
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

log = logging.getLogger("bench")

IMAGES = 6
MAX_CELLS = 200


def save_comparison(
    runs: Sequence[Path],
    output: Path,
    root: Path,
    data: Path | None = None,
    choice: ImageChoice = DEFAULT_CHOICE,
    method: MapMethod | None = None,
) -> list[list[Panels]]:
    """Draw the product of the maps of each run's network on the same test images (as PAN Fig. 7, ARNN Fig. 6).

    Args:
        runs: folders of finished runs; each gives one row of the picture.
        output: as in `attention_maps.save_picture`.
        root: as in `attention_maps.save_picture`.
        data: as in `attention_maps.save_picture`. Required if the runs have different data sets.
        choice: the test images; `IMAGES` of them by default.
        method: draw the map of this method, for each network's answer; None for the networks' own maps.

    Returns:
        For each run, its answer to each image.

    Raises:
        UsageProblemError: as in `attention_maps.save_picture`, or the runs have different data sets and `data` is None.
        DataProblemError: a run is unfinished or damaged.
    """
    from bench.visualization.drawing import draw_comparison

    require_figure_name(output)
    networks = [(*load_model(run), read_finished_result(run)[ACCURACY]) for run in runs]
    configs = [config for config, _, _ in networks]
    if not data and len({config.dataset for config in configs}) > 1:
        names = ", ".join(sorted({config.dataset for config in configs}))
        raise UsageProblemError(f"the runs were made on different data sets ({names}); choose one with --data")
    folder = data or resolve_data_folder(runs[0], configs[0], root)
    manifests = [read_fitting_manifest(folder, find_trained_variant(run)) for run in runs]
    chosen = choose_images(folder, choice, IMAGES)
    if len(chosen) * len(runs) > MAX_CELLS:
        raise UsageProblemError(
            f"{len(runs)} networks × {len(chosen)} images: one picture holds {MAX_CELLS} answers at most"
        )
    asked = list(iter_image_questions(folder, chosen))
    models = [
        model if method is None else MethodMaps(model, config.attn, manifest.variant.classes, method, choice.seed)
        for (config, model, _), manifest in zip(networks, manifests, strict=True)
    ]
    rows = [
        [next(answer_question(model, question, manifest, 1, choice.seed)) for question in asked]
        for model, manifest in zip(models, manifests, strict=True)
    ]
    accuracies = [f"{100 * accuracy:.1f} %" for _, _, accuracy in networks]
    heads = list(zip(_names(configs), accuracies, strict=True))
    title = [f"Where {len(runs)} networks look", f"{SPLIT} images of {manifests[0].folder_name}"]
    draw_comparison(rows, heads, title, _notes(runs, method), output)
    for (name, _), row in zip(heads, rows, strict=True):
        log.info("%s: %s", name, describe_totals(row))
    return rows


def _names(configs: Sequence[RunConfig]) -> list[str]:
    """Return a short name of each network; names that would be equal get the seed, the variant or the run id."""
    forms = (
        lambda config: config.network_label,
        lambda config: f"{config.network_label}, seed {config.seed}",
        lambda config: f"{config.network_label}, {config.variant}",
        lambda config: f"{config.network_label}, {config.run_id.rsplit('-', 1)[-1]}",
    )
    candidates = [[form(config) for form in forms] for config in configs]  # the last one is unique
    counts: list[Counter[str]] = [Counter(column) for column in zip(*candidates, strict=True)]
    return [
        next((name for name, count in zip(names[:-1], counts, strict=False) if count[name] == 1), names[-1])
        for names in candidates
    ]


def _notes(runs: Sequence[Path], method: MapMethod | None = None) -> list[str]:
    kind = "the product of the maps of all slots" if method is None else f"that by {method.name} for the answer"
    return [
        f"Below an image: the truth, and the digit's share of the image. A map is {kind}, "
        "coloured from 0 to its maximum. Below a map: the answer, and the share of the attention inside the outline. "
        "Below the name of a network: its accuracy on the test split of the data set that it was trained on.",
        f"Runs: {', '.join(run.resolve().name for run in runs)}.",
    ]
