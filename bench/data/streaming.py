"""A split whose images stay in the host's memory, or in memory-mapped files, and are sent to the device batch by batch.

A thread gathers the next batches while a step runs. For a GPU they are copied from pinned memory on a separate CUDA
stream. The batches have the same bits as those of a `Resident` split.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.data.prefetch import prefetch
from bench.data.split import Batch, ImageSharing, Split, first_question_per_image, full_background, move_in_one_copy

PREFETCHED_BATCHES = 3
"""Number of batches that are prepared, or being prepared, in addition to the one in use."""


class ImageArrays:
    """Images in several arrays u1 (n, …), with consecutive indices."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = parts
        self._first = np.cumsum([0, *map(len, parts)])
        self.shape = parts[0].shape[1:]

    def gather(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Copy the images with these indices, i8 (B,), to `out` (B, …)."""
        parts = np.searchsorted(self._first, rows, side="right") - 1
        for k, (part, row) in enumerate(zip(parts.tolist(), (rows - self._first[parts]).tolist(), strict=True)):
            out[k] = self._parts[part][row]


class _Sent(NamedTuple):
    """Images and masks that are sent to the device. `arrival` is None if no copy is pending."""

    pixels: Tensor
    ink: Tensor | None
    arrival: torch.cuda.Event | None


@dataclass(frozen=True, kw_only=True)
class Streamed(Split):
    """A split with images and masks on the host.

    Masks are in memory, where they take a third of the space of the images. They are not read from the files on demand:
    files compress ten images sharing, so that in random order each mask would decompress ten.
    """

    images: ImageArrays
    instance: ImageArrays | None = None

    def pixels(self, indices: Tensor) -> Tensor:
        """Return the images of the questions, see `Split.pixels`."""
        return self._gather(self.images, self.image[indices].cpu().numpy()).to(self.device)

    def ink(self, indices: Tensor) -> Tensor:
        """Return the masks of the questions, see `Split.ink`."""
        return self._gather(self._masks(), self.image[indices].cpu().numpy()).to(self.device)

    def iter_index_batches(
        self,
        parts: Sequence[Tensor],
        background: Callable[[int], float] = full_background,
        sharing: ImageSharing = False,
    ) -> Generator[Batch]:
        """Yield a batch of each part, prepared by a thread, see `Split.iter_index_batches`."""
        levels = [background(k) for k in range(len(parts))]
        image = self.image.cpu()
        copy_stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

        def make(stopped: Callable[[], bool]) -> Iterator[_Sent]:
            for k, part in enumerate(parts):
                indices = part.cpu()
                rows = image[first_question_per_image(image[indices], indices, sharing)]
                yield self._send(rows.numpy(), levels[k] < 1, copy_stream)

        with closing(prefetch(make, PREFETCHED_BATCHES)) as arriving:
            for indices, level, sent in zip(move_in_one_copy(parts, self.device), levels, arriving, strict=True):
                yield self._build_batch(*_receive(sent), indices, level, sharing)

    def _masks(self) -> ImageArrays:
        if self.instance is None:
            raise ValueError("this split was loaded without masks; call load_split with masks=True")
        return self.instance

    def _gather(self, images: ImageArrays, rows: np.ndarray, pinned: bool = False) -> Tensor:
        tensor = torch.empty((len(rows), *images.shape), dtype=torch.uint8, pin_memory=pinned)
        images.gather(rows, tensor.numpy())
        return tensor

    def _send(self, rows: np.ndarray, ink: bool, copy_stream: torch.cuda.Stream | None) -> _Sent:
        """Gather the images with these indices, with or without masks, and start the copy to the device.

        PyTorch's allocator reuses a pinned tensor only after its copy is complete.
        """
        context: AbstractContextManager[object] = torch.cuda.stream(copy_stream) if copy_stream else nullcontext()
        wanted = [self.images, self._masks()] if ink else [self.images]
        with context:
            on_host = [self._gather(images, rows, pinned=copy_stream is not None) for images in wanted]
            on_device = [tensor.to(self.device, non_blocking=True) for tensor in on_host]
            arrival = copy_stream.record_event() if copy_stream else None
        return _Sent(on_device[0], on_device[1] if ink else None, arrival)


def _receive(sent: _Sent) -> tuple[Tensor, Tensor | None]:
    """Return images and masks on the device, ordered in its current stream. The host does not wait."""
    if sent.arrival is not None:
        stream = torch.cuda.current_stream(sent.pixels.device)
        stream.wait_event(sent.arrival)
        for tensor in sent[:2]:
            if tensor is not None:
                tensor.record_stream(stream)  # otherwise the next copy could reuse its memory while it is read here
    return sent.pixels, sent.ink
