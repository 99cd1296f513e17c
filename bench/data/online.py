"""Training on fresh images: each epoch's are drawn by the data set's own law while the epoch before is trained on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from bench.common.memory import fits
from bench.config import LEAST_BATCH, Recipe, RunConfig, Supply
from bench.data.loading import load_split, place
from bench.data.prefetch import ahead
from bench.data.split import Split
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import Triples, read_triples
from mnistref.generation.executors import processors
from mnistref.generation.online import ASKED, SPLIT, Fresh, open_fresh

HOST = torch.device("cpu")


class Online:
    """The training split of a set of N images, epoch by epoch: epoch e = 0, 1, … has the images e·N … (e + 1)·N − 1.

    So epoch 0 is the set itself, and an epoch is the same whenever it is asked for. Where each question has an image of
    its own, an epoch has as many as the set itself: of one with more the last are left out, of one with fewer the first
    come again. Where questions share images, it has all of them. Two epochs' images at most
    are in the host's memory: those in use, and those being drawn.

    Args:
        fresh: what draws them.
        questions: T, of the set itself.
        queries: the unit they are asked in.
        device: where they are used.
        epochs: how many there will be.
        masks: whether masks are wanted too.
        stream: see `bench.data.loading.load_split`; what is streamed lies in the host's memory.
        together: whether questions share images in a step.

    Raises:
        UsageProblemError: two epochs' images do not fit into the host's memory.
    """

    def __init__(
        self,
        fresh: Fresh,
        questions: int,
        queries: str,
        device: torch.device,
        epochs: int,
        masks: bool = False,
        stream: bool | None = None,
        together: bool = False,
    ) -> None:
        self._together = together
        self._fresh, self._questions, self._queries, self._device = fresh, questions, queries, device
        self._epochs, self._stream = epochs, stream
        self._names = ("image", "instance", *ASKED) if masks else ("image", *ASKED)
        self._threads = 1 if device.type == "cpu" else max(1, processors() // 2)
        self._next, self._drawn = -1, iter(())  # type: tuple[int, Iterator[dict[str, np.ndarray]]]
        size = 2 * fresh.images * fresh.manifest.variant.canvas**2 * (4 if masks else 3)
        if not fits(size, HOST):
            raise UsageProblemError(
                f"--online: two epochs of {fresh.images:,} images take {size / 1e9:.1f} GB, more than the memory that "
                "is free; take a smaller set, or leave --online out"
            )

    def __len__(self) -> int:
        return self._questions

    @property
    def asked_about(self) -> int:
        return self._fresh.images

    def of_epoch(self, epoch: int) -> Split:
        """The split of epoch 0, 1, …; what was given for an earlier one must be let go of before. That of the next one
        is begun."""
        if epoch != self._next:
            self.close()
            self._drawn = ahead(lambda stopped: self._draw(epoch, stopped), depth=1, modest=True)
        self._next = epoch + 1
        arrays = next(self._drawn)
        questions = self._fresh.triples(self._queries, arrays)
        questions = questions if self._together else self._evened(questions)
        return place([arrays["image"]], arrays.get("instance"), questions, self._device, self._stream, SPLIT)

    def close(self) -> None:
        """End what is being drawn."""
        if self._next >= 0:
            self._drawn.close()  # type: ignore[attr-defined]
        self._next = -1

    def _draw(self, epoch: int, stopped: Callable[[], bool]) -> Iterator[dict[str, np.ndarray]]:
        images = self._fresh.images
        for e in range(epoch, max(epoch + 1, self._epochs)):
            yield self._fresh.draw(e * images, images, *self._names, threads=self._threads, stopped=stopped)

    def _evened(self, questions: Triples) -> Triples:
        at = np.arange(self._questions) % len(questions.image)
        return Triples(*(array[at] for array in questions))


def load_training(config: RunConfig, folder: Path, device: torch.device, supply: Supply) -> Split | Online:
    """What a run is trained on, to be closed when it is over."""
    fades, shared = config.recipe.fade > 0, config.recipe.questions != "one"
    queries = _asked_in_training(config.queries, config.recipe)
    if not config.online:
        return load_split(folder, SPLIT, queries, device, fades, supply.stream)
    beside = folder.resolve().parent.parent / "raw"
    raw = beside if beside.is_dir() or supply.raw is None else Path(supply.raw)
    fresh = open_fresh(folder, raw, supply.digits, supply.backgrounds)
    asked = len(read_triples(folder, SPLIT, queries).image)
    return Online(fresh, asked, queries, device, config.recipe.epochs, fades, supply.stream, shared)


def refuse_large_batch(folder: Path, queries: str, batch: int | None, recipe: Recipe) -> None:
    """A usage error where a batch that the user chose is larger than the training set: in images that are asked about
    where questions about one share a step, in questions else."""
    if batch is None:
        return
    asked = read_triples(folder, SPLIT, _asked_in_training(queries, recipe)).image
    there, units = (len(asked), "question") if recipe.questions == "one" else (len(np.unique(asked)), "image")
    if batch > there:
        less = f"give {there} or fewer" if there >= LEAST_BATCH else f"make a larger set: a step takes {LEAST_BATCH}"
        raise UsageProblemError(f"--batch {batch}: {folder} has {there} training {units}{'s' * (there != 1)}; {less}")


def _asked_in_training(queries: str, recipe: Recipe) -> str:
    """Of what questions those of a step are taken: of all about an image, unless the user chose others."""
    return "all" if recipe.questions != "one" and queries == "one" else queries
