"""A picture of map methods: the map of each method for the same questions."""

from collections.abc import Sequence
from pathlib import Path

import torch

from bench.attribution.explain import ExplanationOptions, seeded
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.map_method import LABEL, MapMethod
from bench.attribution.measures import normalize
from bench.evaluation.panels import Panels, make_panels
from bench.runs.data_folder import read_fitting_manifest
from bench.runs.network_loading import find_trained_variant, load_model
from bench.visualization.examples import ImageChoice, choose_images, iter_image_questions

IMAGES = 6


def save_map_comparison(
    run: Path, data: Path, methods: Sequence[MapMethod], options: ExplanationOptions, output: Path
) -> list[list[Panels]]:
    """Draw the maps of each method on the same test images, from small to large digits.

    Args:
        run: folder of a finished run.
        data: folder of its data set.
        methods: the methods; each gives one row of the picture.
        options: how maps are made.
        output: file to write: .png, .svg or .pdf.

    Returns:
        For each method with a map, its panels.
    """
    from bench.visualization.drawing import draw_comparison

    config, model = load_model(run)
    manifest = read_fitting_manifest(data, find_trained_variant(run))
    variant = manifest.variant
    questions = list(iter_image_questions(data, choose_images(data, ImageChoice(seed=options.seed), IMAGES)))
    images = torch.stack([question.image for question in questions]).permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=torch.channels_last)
    query = torch.tensor([question.query for question in questions])
    network = ExplainedNetwork(model, variant.classes)
    size = (images.shape[2], images.shape[3])
    rows, heads = [], []
    with network.frozen():
        with torch.no_grad():
            out = network.output(images, query)
        labels = torch.tensor([min(question.inks) for question in questions])
        classes = labels if options.explained == LABEL else out.logits.argmax(1)
        for method in methods:
            with seeded(options.seed, method.name, 0):
                made = method.compute(network, images, query, classes)
            if made is None:
                continue
            maps = normalize(made, size).unsqueeze(1)
            row = []
            for k, question in enumerate(questions):
                shown = out._replace(logits=out.logits[k : k + 1], masks=[maps[k : k + 1]], mask_power=1.0, slots=(1,))
                row.append(make_panels(question, shown, variant))
            rows.append(row)
            heads.append((method.name, "baseline" if method.is_baseline else ""))
    title = [f"Maps of {config.network_label} by {len(rows)} methods", f"test images of {manifest.folder_name}"]
    draw_comparison(rows, heads, title, _notes(run), output)
    return rows


def _notes(run: Path) -> list[str]:
    return [
        "Below an image: the truth, and the digit's share of the image. A map is coloured from 0 to its maximum. Below "
        "a map: the network's answer, and the share of the map inside the outline.",
        f"Run: {run.resolve().name}.",
    ]
