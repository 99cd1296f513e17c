"""Several trained networks side by side: where each looks on the same test images, and what it answers."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.config import RunConfig
from bench.evaluation.panels import Panels, tally
from bench.runs.load import load_model, load_result
from bench.visualization.examples import SPLIT, answers, choose, data_of, fitting, questions
from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import check_name

log = logging.getLogger("bench")

IMAGES = 6
MAX_CELLS = 200


def save_comparison(
    runs: Sequence[Path],
    output: Path,
    root: Path,
    data: Path | None = None,
    images: int = IMAGES,
    seed: int = 0,
    indices: Sequence[int] | None = None,
) -> list[list[Panels]]:
    """Draw the product of the maps of each run's network on the same test images (as PAN Fig. 7, ARNN Fig. 6).

    Args:
        runs: folders of finished runs, one row of the picture each.
        output, root, data, images, seed, indices: as of `attention_maps.save_picture`. Without `data` all must be
            made on the same data set.

    Returns:
        For each run what it answers to each image.

    Raises as `attention_maps.save_picture`.
    """
    from bench.visualization.drawing import draw_beside

    check_name(output)
    networks = [(*load_model(run), load_result(run)["accuracy"]) for run in runs]
    configs = [config for config, _, _ in networks]
    if not data and len({config.dataset for config in configs}) > 1:
        made_on = ", ".join(sorted({config.dataset for config in configs}))
        raise UsageProblemError(f"the runs were made on different data sets ({made_on}); name one with --data")
    folder = data or data_of(runs[0], configs[0], root)
    manifests = [fitting(folder, config) for config in configs]
    chosen = choose(folder, images, seed, indices)
    if len(chosen) * len(runs) > MAX_CELLS:
        raise UsageProblemError(
            f"{len(runs)} networks × {len(chosen)} images: one picture holds {MAX_CELLS} answers at most"
        )
    asked = list(questions(folder, chosen))
    rows = [
        [next(answers(model, question, manifest, 1, seed)) for question in asked]
        for (_, model, _), manifest in zip(networks, manifests, strict=True)
    ]
    accuracies = [f"{100 * accuracy:.1f} %" for _, _, accuracy in networks]
    heads = list(zip(_names(configs), accuracies, strict=True))
    title = [f"Where {len(runs)} networks look", f"{SPLIT} images of {manifests[0].folder_name}"]
    draw_beside(rows, heads, title, _notes(runs), output)
    for (name, _), row in zip(heads, rows, strict=True):
        log.info("%s: %s", name, tally(row))
    return rows


def _names(configs: Sequence[RunConfig]) -> list[str]:
    """Of each network what it is called, and where two are called alike, what tells them apart."""
    ways = (
        lambda config: config.attn,
        lambda config: f"{config.attn}, seed {config.seed}",
        lambda config: f"{config.attn}, {config.variant}",
        lambda config: f"{config.attn}, {config.run_id.rsplit('-', 1)[-1]}",
    )
    each = [Counter(map(way, configs)) for way in ways]
    last = len(ways) - 1
    return [
        next(way(config) for k, way in enumerate(ways) if each[k][way(config)] == 1 or k == last) for config in configs
    ]


def _notes(runs: Sequence[Path]) -> list[str]:
    return [
        "Below an image the truth, and the digit's share of the image. A map is the product of the maps of all slots, "
        "coloured from 0 to its maximum; below it the answer, and the share of the attention inside the outline. "
        "Beside a network its accuracy on the test split of the set that it was trained on.",
        f"Runs: {', '.join(run.resolve().name for run in runs)}.",
    ]
