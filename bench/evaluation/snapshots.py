"""Snapshots of a run: a few test images, and the attention of the network in each.

All runs on one data set use the same images, so that they can be compared.
"""

import io
import json
import logging
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench.data.split import Split
from bench.evaluation.evaluate import same_draws
from bench.evaluation.output_checks import unanswered, unfit_images
from bench.evaluation.panels import describe_question
from bench.evaluation.picture_files import FOLDER, IMAGES, MAPS, TARGETS, WORDS
from bench.evaluation.record_keys import ANSWER
from bench.evaluation.unchecked_metrics import area_of, attended, share_on
from bench.model import Output
from mnistref.common.atomic_files import write_whole
from mnistref.spec import VariantSpec

log = logging.getLogger("bench")

SNAPSHOT_IMAGES = 8
_SHARE_DIGITS = 6
"""Number of decimal places of a share."""


class SnapshotWords(TypedDict):
    """The question about an image, and the answer of the network: an entry of pictures.json.

    Attributes:
        question: index of the question in the split.
        query: the question in words.
        label: the right answer.
        answer: the answer of the network; None if it is not finite.
        scale: scale of the queried digit; absent for a task.
        uniform: the digit's share of the image, which is the share of a uniform map on the digit; absent without masks.
        share: share of the product of the maps on the digit; absent without a map or masks.
        no_map: present if a map is not finite or negative.
    """

    question: int
    query: str
    label: str
    answer: str | None
    scale: NotRequired[float]
    uniform: NotRequired[float]
    share: NotRequired[float]
    no_map: NotRequired[bool]


class _Share(TypedDict, total=False):
    share: float


class _Scale(TypedDict, total=False):
    scale: float


class _Uniform(TypedDict, total=False):
    uniform: float


class _MapFault(TypedDict, total=False):
    no_map: bool


class Snapshots(NamedTuple):
    """The snapshots of a network.

    Attributes:
        images: u1 (H, n·W, 3), n images side by side.
        maps: u1 (H, n·W), the normalised product of the maps, scaled to a maximum of 255 per image; 0 for an image with
            a map that is not finite or negative. None for a network without attention.
        targets: u1 (H, n·W), 255 on the ink of the queried digit, otherwise 0; None without masks.
        words: question and answer for each image.
    """

    images: np.ndarray
    maps: np.ndarray | None
    targets: np.ndarray | None
    words: list[SnapshotWords]


@torch.inference_mode()
def take_snapshots(model: nn.Module, split: Split, variant: VariantSpec, count: int = SNAPSHOT_IMAGES) -> Snapshots:
    """Return the network's answers to questions about `count` images of a test split, over the range of scales."""
    chosen = choose_questions(split, count, seed=0)
    indices = torch.tensor(chosen, device=split.device)
    model.eval()
    with same_draws(split.device):
        batch = split.batch(indices)
        out = model(batch.images, batch.query)
    product, unfit = _product(out, (batch.images.shape[2], batch.images.shape[3]))
    target = split.masks(indices) if split.has_masks else None
    uniform = None if target is None else area_of(target).tolist()
    shares = None if product is None or target is None else share_on(product, target).tolist()
    labels, none = variant.label_names, unanswered(out.logits).tolist()
    questions = zip(chosen, batch.query.tolist(), batch.label.tolist(), out.logits.argmax(1).tolist(), strict=True)
    fault: _MapFault = {"no_map": True}
    no_fault: _MapFault = {}
    no_share: _Share = {}
    words: list[SnapshotWords] = [
        {
            "question": index,
            "query": describe_question(variant, query),
            "label": labels[label],
            ANSWER: None if none[k] else labels[answer],
            **(_Scale() if split.scale is None else _Scale(scale=round(float(split.scale[index]), 2))),
            **(_Uniform(uniform=round(uniform[k], _SHARE_DIGITS)) if uniform else _Uniform()),
            **(_Share(share=round(shares[k], _SHARE_DIGITS)) if shares and not unfit[k] else no_share),
            **(fault if unfit[k] else no_fault),
        }
        for k, (index, query, label, answer) in enumerate(questions)
    ]
    if any(none) or any(unfit):
        log.warning(
            "snapshots: %d of %d answers are not finite, and %d maps are not finite or negative",
            *(sum(none), len(words), sum(unfit)),
        )
    maps = None if product is None else _side_by_side(_scaled(product, unfit))
    targets = None if target is None else _side_by_side(255.0 * target)
    return Snapshots(_side_by_side(split.pixels(indices)), maps, targets, words)


def _product(out: Output, size: tuple[int, int]) -> tuple[Tensor | None, list[bool]]:
    """Return the normalised product of the maps, (n, H, W), and which images have none because a map is unfit."""
    if not out.masks:
        return None, [False] * len(out.logits)
    odd, below = unfit_images(out.masks)
    unfit = (odd | below)[:, None, None, None]
    product = attended([torch.where(unfit, 1, mask) for mask in out.masks], size, out.mask_power)
    return product, unfit.flatten().tolist()


def _scaled(product: Tensor, unfit: list[bool]) -> Tensor:
    """Return each product, scaled to a maximum of 255; 0 for unfit maps."""
    scaled = product / product.amax(dim=(1, 2), keepdim=True) * 255
    return torch.where(torch.tensor(unfit, device=product.device)[:, None, None], 0, scaled)


def write_snapshots(run: Path, snapshots: Snapshots) -> None:
    """Write snapshots into the folder of a run."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for name in (MAPS, TARGETS):
        (folder / name).unlink(missing_ok=True)
    write_whole(folder / IMAGES, _png(Image.fromarray(snapshots.images)))
    if snapshots.maps is not None:
        write_whole(folder / MAPS, _png(Image.fromarray(snapshots.maps)))
    if snapshots.targets is not None:
        write_whole(folder / TARGETS, _png(Image.fromarray(snapshots.targets).convert("1")))
    write_whole(folder / WORDS, json.dumps(snapshots.words, indent=1, ensure_ascii=False).encode())


def choose_questions(split: Split, images: int, seed: int) -> list[int]:
    """Return the indices of questions of a split over the range of scales; without scales, over the split.

    Args:
        split: the questions.
        images: number of questions; if there are fewer, all are chosen.
        seed: seed of the choice.
    """
    scales = np.arange(len(split), dtype=np.float32) if split.scale is None else split.scale.cpu().numpy()
    return choose_across_scales(scales, images, seed)


def choose_across_scales(scales: np.ndarray, images: int, seed: int) -> list[int]:
    """Return the indices of images over the range of scales, small to large.

    The range is divided into equal parts. For a random scale in each part, the image with the nearest scale is chosen.

    Args:
        scales: f4 (N,), scales of the queried digits.
        images: number of images; if there are fewer, all N are chosen.
        seed: seed of the random scales.
    """
    images = min(images, len(scales))
    parts = (np.arange(images) + np.random.default_rng(seed).random(images)) / images
    available = np.ones(len(scales), dtype=bool)
    chosen: list[int] = []
    for aim in scales.min() + parts * (scales.max() - scales.min()):
        chosen.append(int(np.where(available, np.abs(scales - aim), np.inf).argmin()))
        available[chosen[-1]] = False
    return chosen


def _side_by_side(images: Tensor) -> np.ndarray:
    """Return (n, H, W, …) as u1 (H, n·W, …)."""
    return np.concatenate(list(images.round().to(torch.uint8).cpu().numpy()), axis=1)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
