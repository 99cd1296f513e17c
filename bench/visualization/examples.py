"""The test images and questions of a picture, and the answers of a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.sets import DataSet, is_generated, map_split, read_ink, read_scales, read_triples
from bench.evaluation.panels import ImageQuestion, Panels, make_panels
from bench.evaluation.snapshots import choose_across_scales
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import MnistRef

SPLIT = "test"


@dataclass(frozen=True)
class ImageChoice:
    """The test images of a picture.

    Attributes:
        number: number of images, chosen by `seed` over the range of the queried digits' scales; None for the default of
            the picture.
        seed: seed of the choice, and of random maps.
        indices: indices of the images to show, instead of a choice.
    """

    number: int | None = None
    seed: int = 0
    indices: Sequence[int] | None = None


DEFAULT_CHOICE = ImageChoice()


def choose_images(folder: Path, choice: ImageChoice, default: int) -> list[int]:
    """Return the indices of test images: those of `choice`, or a choice over the range of scales.

    Args:
        folder: the data set.
        choice: the images.
        default: their number, if `choice` does not have it.

    Raises:
        UsageProblemError: there is no such image, or no image is requested.
    """
    questions = read_triples(folder, SPLIT, "one")
    scales = read_scales(folder, SPLIT, questions)
    if scales is None:
        scales = np.arange(len(questions.image), dtype=np.float32)
    indices = choice.indices
    if indices is None:
        images = default if choice.number is None else choice.number
        if images < 1:
            raise UsageProblemError(f"{images} images: give 1 or more")
        return choose_across_scales(scales, images, choice.seed)
    for index in indices:
        if not 0 <= index < len(scales):
            raise UsageProblemError(f"{folder} has no {SPLIT} image {index}: give 0 … {len(scales) - 1}")
    if not indices:
        raise UsageProblemError("no image given: give the index of one image or more")
    return list(indices)


def iter_image_questions(folder: Path, indices: Sequence[int]) -> Iterator[ImageQuestion]:
    """Yield one question per image, with the ink of every right answer."""
    if not is_generated(folder):
        yield from _iter_task_images(folder, indices)
        return
    dataset = MnistRef(folder, SPLIT)
    every = MnistRef(folder, SPLIT, "all").triples if dataset.variant.repeats[1] > 1 else dataset.triples
    for index in indices:
        pixels, digit_of_pixel = dataset.read_image(index)
        query = int(dataset.triples.query[index])
        inks: dict[int, Tensor] = {}
        for alike in np.flatnonzero((every.image == index) & (every.query == query)):
            label, ink = int(every.label[alike]), torch.from_numpy(digit_of_pixel == every.slot[alike] + 1)
            inks[label] = inks[label] | ink if label in inks else ink
        image = pixels.permute(1, 2, 0).float() / 255
        yield ImageQuestion(index, image, query, inks, float(dataset.scale[index]))


def _iter_task_images(folder: Path, indices: Sequence[int]) -> Iterator[ImageQuestion]:
    """Yield images of a task, each with its mask, which is empty without masks."""
    (images,), ink = map_split(folder, SPLIT), read_ink(folder, SPLIT)
    labels = read_triples(folder, SPLIT, "one").label
    for index in indices:
        image = torch.from_numpy(images[index].copy())
        mask = torch.zeros(image.shape[:2], dtype=torch.bool) if ink is None else torch.from_numpy(ink[index] == 1)
        yield ImageQuestion(index, image.float() / 255, 0, {int(labels[index]): mask}, None)


@torch.inference_mode()
def answer_question(
    model: nn.Module, question: ImageQuestion, manifest: DataSet, samples: int, seed: int
) -> Iterator[Panels]:
    """Yield the answers of the network.

    Each answer draws from its own generator, so that it does not depend on other images or samples.
    """
    image, query = question.image.permute(2, 0, 1)[None], torch.tensor([question.query])
    for sample in range(samples):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([seed, question.index, sample]).generate_state(1)[0]))
            out = model(image, query)
        yield make_panels(question, out, manifest.variant, sample + 1, samples)
