"""Training on new images: the data set's law generates each epoch while the previous epoch is used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.common.memory import fits_memory
from bench.config import MIN_BATCH, DataOptions, Recipe, RunConfig
from bench.data.loading import SplitContent, build_split, load_split
from bench.data.prefetch import prefetch
from bench.data.sets import is_generated, read_triples
from bench.data.split import Split
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import Triples
from mnistref.generation.executors import processors
from mnistref.generation.online import QUESTION_FIELDS, SPLIT, OnlineGenerator, open_online_generator

HOST = torch.device("cpu")


@dataclass(frozen=True)
class OnlineQuestions:
    """The questions about the images of an epoch.

    Attributes:
        count: number of questions of the data set.
        queries: the questions to ask, see `mnistref.dataset.read_triples`.
        share_images: whether questions share images in a step.
    """

    count: int
    queries: str
    share_images: bool = False


class OnlineImages:
    """The training split of a data set of N images, generated epoch by epoch.

    Epoch e = 0, 1, … has the images e·N … (e + 1)·N − 1, so epoch 0 equals the data set itself. The images of an epoch
    do not depend on when it is requested.

    If each question has its own image, every epoch has as many questions as the data set: surplus questions are
    dropped, and missing ones are filled up with the first ones. If questions share images, an epoch has all questions
    of its images.

    The host's memory holds the images of two epochs at most: the current one, and the one that is being generated.

    Args:
        generator: generates images.
        questions: the questions about them.
        device: where batches are used.
        epochs: number of epochs.
        masks: whether masks are needed too.
        stream: as in `bench.data.loading.load_split`; streamed images are in the host's memory.

    Raises:
        UsageProblemError: the images of two epochs do not fit into the host's memory.
    """

    def __init__(
        self,
        generator: OnlineGenerator,
        questions: OnlineQuestions,
        device: torch.device,
        epochs: int,
        masks: bool = False,
        stream: bool | None = None,
    ) -> None:
        self._generator, self._questions, self._device = generator, questions, device
        self._epochs, self._stream = epochs, stream
        self._names = ("image", "instance", *QUESTION_FIELDS) if masks else ("image", *QUESTION_FIELDS)
        self._threads = 1 if device.type == "cpu" else max(1, processors() // 2)
        self._next, self._drawn = -1, iter(())  # type: tuple[int, Iterator[dict[str, np.ndarray]]]
        size = 2 * generator.images * generator.manifest.variant.canvas**2 * (4 if masks else 3)
        if not fits_memory(size, HOST):
            raise UsageProblemError(
                f"--online: two epochs of {generator.images:,} images take {size / 1e9:.1f} GB, more than the free "
                "memory; use a smaller data set, or omit --online"
            )

    def __len__(self) -> int:
        return self._questions.count

    @property
    def image_count(self) -> int:
        """The number of images with questions."""
        return self._generator.images

    def split_for_epoch(self, epoch: int) -> Split:
        """Return the split of epoch 0, 1, …, and start to generate the next one.

        Release the split of an earlier epoch before this call.
        """
        if epoch != self._next:
            self.close()
            self._drawn = prefetch(lambda stopped: self._draw(epoch, stopped), depth=1, modest=True)
        self._next = epoch + 1
        arrays = next(self._drawn)
        questions = self._generator.triples(self._questions.queries, arrays)
        questions = questions if self._questions.share_images else self._match_question_count(questions)
        content = SplitContent([arrays["image"]], arrays.get("instance"), questions)
        return build_split(content, SPLIT, self._device, self._stream)

    def close(self) -> None:
        """Stop generating."""
        if self._next >= 0:
            self._drawn.close()  # type: ignore[attr-defined]
        self._next = -1

    def _draw(self, epoch: int, stopped: Callable[[], bool]) -> Iterator[dict[str, np.ndarray]]:
        images = self._generator.images
        for e in range(epoch, max(epoch + 1, self._epochs)):
            yield self._generator.draw(e * images, images, *self._names, threads=self._threads, stopped=stopped)

    def _match_question_count(self, questions: Triples) -> Triples:
        indices = np.arange(self._questions.count) % len(questions.image)
        return Triples(*(array[indices] for array in questions))


def load_training(
    config: RunConfig, folder: Path, device: torch.device, data_options: DataOptions
) -> Split | OnlineImages:
    """Return the data that a run is trained on. Close it after the training."""
    fades, shared = config.recipe.fade > 0, config.recipe.questions != "one"
    queries = queries_in_training(config.queries, config.recipe)
    if not config.online:
        return load_split(folder, SPLIT, queries=queries, device=device, masks=fades, stream=data_options.stream)
    if not is_generated(folder):
        raise UsageProblemError(f"--online: {folder.name} is not generated, so it has no new images; omit it")
    own_raw = folder.resolve().parent.parent / "raw"
    raw = own_raw if own_raw.is_dir() or data_options.raw is None else Path(data_options.raw)
    generator = open_online_generator(folder, raw, data_options.digits, data_options.backgrounds)
    question_count = len(read_triples(folder, SPLIT, queries).image)
    return OnlineImages(
        generator=generator,
        questions=OnlineQuestions(question_count, queries, share_images=shared),
        device=device,
        epochs=config.recipe.epochs,
        masks=fades,
        stream=data_options.stream,
    )


def require_enough_for_batch(folder: Path, queries: str, batch: int | None, recipe: Recipe) -> None:
    """Raise an error if a batch that the user chose is larger than the training set.

    Raises:
        UsageProblemError: the batch is larger than the number of images with questions, if questions share images, or
            than the number of questions otherwise.
    """
    if batch is None:
        return
    image = read_triples(folder, SPLIT, queries_in_training(queries, recipe)).image
    available, units = (len(image), "question") if recipe.questions == "one" else (len(np.unique(image)), "image")
    if batch > available:
        advice = f"give {available} or fewer"
        if available < MIN_BATCH:
            advice = f"make a larger data set: a step needs {MIN_BATCH}"
        raise UsageProblemError(
            f"--batch {batch}: {folder} has {available} training {units}{'s' * (available != 1)}; {advice}"
        )


def queries_in_training(queries: str, recipe: Recipe) -> str:
    """Return which questions a step draws from: all questions about an image, unless the user chose others."""
    return "all" if recipe.questions != "one" and queries == "one" else queries
