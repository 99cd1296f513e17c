"""Small pictures kept with a run: a few test images, and where the network looks in each. The same images for every run
on one data set, so that they can be laid beside each other.
"""

import io
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.split import Split
from bench.evaluation.evaluate import same_draws
from bench.evaluation.output_checks import unanswered, unfit_images
from bench.evaluation.panels import in_words
from bench.evaluation.unchecked_metrics import attended
from bench.model import AttributeCNN, Output
from mnistref.common.atomic_files import write_whole
from mnistref.spec import VariantSpec

log = logging.getLogger("bench")

FOLDER, IMAGES, MAPS, WORDS = "pictures", "images.png", "maps.png", "pictures.json"
COUNT = 8


class Pictures(NamedTuple):
    """`images` u1 (H, n·W, 3), n images side by side; `maps` u1 (H, n·W), the normalised product of the network's maps
    over its maximum, 255 there, or None without attention. `words`: what was asked and answered about each; the answer
    is None where it is not finite. Where a map is not finite or below zero `maps` is 0, and `words` have `no_map`.
    """

    images: np.ndarray
    maps: np.ndarray | None
    words: list[dict[str, Any]]


@torch.inference_mode()
def take(model: AttributeCNN, split: Split, variant: VariantSpec, count: int = COUNT) -> Pictures:
    """Ask the network about `count` images of a test split, whose digits are of all scales."""
    assert split.scale is not None
    chosen = spread(split.scale.cpu().numpy(), count, seed=0)
    at = torch.tensor(chosen, device=split.device)
    model.eval()
    with same_draws(split.device):
        batch = split.batch(at)
        out = model(batch.images, batch.query)
    maps, unfit = _maps(out, (batch.images.shape[2], batch.images.shape[3]))
    labels, none = variant.label_names, unanswered(out.logits).tolist()
    asked = zip(chosen, batch.query.tolist(), batch.label.tolist(), out.logits.argmax(1).tolist(), strict=True)
    words = [
        {
            "question": index,
            "query": in_words(variant, query),
            "label": labels[label],
            "answer": None if none[k] else labels[answer],
            "scale": round(float(split.scale[index]), 2),
            **({"no_map": True} if unfit[k] else {}),
        }
        for k, (index, query, label, answer) in enumerate(asked)
    ]
    if any(none) or any(unfit):
        log.warning(
            "pictures: %d of %d answers are not finite, and %d maps not finite or below zero",
            *(sum(none), len(words), sum(unfit)),
        )
    return Pictures(_beside(split.pixels(at)), maps, words)


def _maps(out: Output, size: tuple[int, int]) -> tuple[np.ndarray | None, list[bool]]:
    """Return the products of the maps side by side, and which of the images have none because a map is unfit."""
    if not out.masks:
        return None, [False] * len(out.logits)
    odd, below = unfit_images(out.masks)
    unfit = (odd | below)[:, None, None, None]
    product = attended([torch.where(unfit, 1, mask) for mask in out.masks], size, out.mask_power)
    scaled = product / product.amax(dim=(1, 2), keepdim=True) * 255
    return _beside(torch.where(unfit[:, 0], 0, scaled)), unfit.flatten().tolist()


def keep(run: Path, pictures: Pictures) -> None:
    """Write them into the folder of a run."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / MAPS).unlink(missing_ok=True)
    write_whole(folder / IMAGES, _png(pictures.images))
    if pictures.maps is not None:
        write_whole(folder / MAPS, _png(pictures.maps))
    write_whole(folder / WORDS, json.dumps(pictures.words, indent=1, ensure_ascii=False).encode())


def spread(scales: np.ndarray, images: int, seed: int) -> list[int]:
    """Images whose digits are of different scales, small to large: one near a random scale of each equal part.

    Args:
        scales: f4 (N,), of the digits asked about.
        images: how many; all N where there are fewer.
        seed: of the random scales.
    """
    images = min(images, len(scales))
    parts = (np.arange(images) + np.random.default_rng(seed).random(images)) / images
    left = np.ones(len(scales), dtype=bool)
    chosen: list[int] = []
    for aim in scales.min() + parts * (scales.max() - scales.min()):
        chosen.append(int(np.where(left, np.abs(scales - aim), np.inf).argmin()))
        left[chosen[-1]] = False
    return chosen


def _beside(pictures: Tensor) -> np.ndarray:
    """(n, H, W, …) → u1 (H, n·W, …)."""
    return np.concatenate(list(pictures.round().to(torch.uint8).cpu().numpy()), axis=1)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.getvalue()
