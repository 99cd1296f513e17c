"""The test images that a picture is about, the questions, and what a network answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.config import RunConfig
from bench.evaluation.panels import Panels, Question, panels
from bench.evaluation.snapshots import spread
from bench.model import AttributeCNN
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import Manifest, MnistRef, read_manifest, read_split
from mnistref.variants import get_variant

SPLIT = "test"


def data_of(run: Path, config: RunConfig, root: Path) -> Path:
    """The folder of the data set that a run was made on."""
    places = [place / "datasets" / config.dataset for place in (run.resolve().parent.parent, root)]
    for place in places:
        if place.is_dir():
            return place
    raise UsageProblemError(f"{places[-1]}: the run's data set is not here; say where with --data or --root")


def fitting(folder: Path, config: RunConfig) -> Manifest:
    """The data set's manifest; a usage error where the network knows other queries or classes."""
    manifest, trained = read_manifest(folder), get_variant(config.variant)
    has, wants = [(v.queries, v.classes) for v in (manifest.variant, trained)]
    if has != wants:
        raise UsageProblemError(
            f"{folder}: {has[0]} queries and {has[1]} classes, and this network, trained on {trained.name}, has "
            f"{wants[0]} and {wants[1]}; give a data set with as many"
        )
    return manifest


def choose(folder: Path, images: int, seed: int, indices: Sequence[int] | None) -> list[int]:
    """Which images of the test split: those named, or a choice."""
    fields = read_split(folder, SPLIT, "digit_scale", "query_slot")
    slot = fields["query_slot"].astype(np.int64)
    scales = fields["digit_scale"][np.arange(len(slot)), slot]
    if indices is None:
        if images < 1:
            raise UsageProblemError(f"{images} images: give 1 or more")
        return spread(scales, images, seed)
    for index in indices:
        if not 0 <= index < len(scales):
            raise UsageProblemError(f"{folder} has no {SPLIT} image {index}: give 0 … {len(scales) - 1}")
    if not indices:
        raise UsageProblemError("no image named: give the number of one or more")
    return list(indices)


def questions(folder: Path, indices: Sequence[int]) -> Iterator[Question]:
    """One question an image, with the ink of every right answer."""
    dataset = MnistRef(folder, SPLIT)
    every = MnistRef(folder, SPLIT, "all") if dataset.variant.repeats[1] > 1 else dataset
    for index in indices:
        sample = dataset[index]
        alike = np.flatnonzero((every.triples.image == index) & (every.triples.query == sample["query"]))
        inks: dict[int, Tensor] = {}
        for item in map(every.__getitem__, alike.tolist()):
            ink = item["mask"].as_subclass(torch.Tensor)
            inks[item["label"]] = inks[item["label"]] | ink if item["label"] in inks else ink
        image = sample["image"].as_subclass(torch.Tensor).permute(1, 2, 0).float() / 255
        yield Question(index, image, sample["query"], inks, sample["scale"])


@torch.inference_mode()
def answers(model: AttributeCNN, question: Question, manifest: Manifest, samples: int, seed: int) -> Iterator[Panels]:
    """The network's answers, each drawn from a generator of its own, so that no other image or sample matters."""
    image, query = question.image.permute(2, 0, 1)[None], torch.tensor([question.query])
    for sample in range(samples):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([seed, question.index, sample]).generate_state(1)[0]))
            out = model(image, query)
        yield panels(question, out, manifest.variant, sample + 1, samples)
