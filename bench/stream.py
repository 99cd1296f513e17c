"""A split whose images stay with the host, in memory or mapped from files, and come to the device batch by batch.

A thread gathers the next batches while a step runs; to a GPU they are copied from pinned memory, on a stream beside
that of the steps. The batches are bit for bit those of a `Resident` split.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.ahead import ahead
from bench.split import Batch, Split, Together, as_they_are, first_of_each, moved

DEPTH = 3
"""Batches that are prepared, or in preparation, beside the one that is in use."""


class Rows:
    """Images in several arrays, one after the other: of each u1 (n, …), numbered through."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = parts
        self._first = np.cumsum([0, *map(len, parts)])
        self.shape = parts[0].shape[1:]

    def gather(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Copy the images of these numbers, i8 (B,), to `out` (B, …)."""
        parts = np.searchsorted(self._first, rows, side="right") - 1
        for k, (part, row) in enumerate(zip(parts.tolist(), (rows - self._first[parts]).tolist(), strict=True)):
            out[k] = self._parts[part][row]


class _Sent(NamedTuple):
    """What comes to the device; `arrival` is None where it is there already."""

    pixels: Tensor
    ink: Tensor | None
    arrival: torch.cuda.Event | None


@dataclass(frozen=True, kw_only=True)
class Streamed(Split):
    """Images and masks of a split on the host.

    Masks stay in memory whole where they are wanted: a third of what the images take. Files hold them compressed, ten
    images together, so that a random order would unpack ten for each.
    """

    images: Rows
    instance: Rows | None = None

    def pixels(self, at: Tensor) -> Tensor:
        return self._gathered(self.images, self.image[at].cpu().numpy()).to(self.device)

    def ink(self, at: Tensor) -> Tensor:
        return self._gathered(self._masks(), self.image[at].cpu().numpy()).to(self.device)

    def of_parts(
        self, parts: Sequence[Tensor], background: Callable[[int], float] = as_they_are, together: Together = False
    ) -> Generator[Batch]:
        dimmed = [background(k) for k in range(len(parts))]
        image = self.image.cpu()
        aside = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

        def make(stopped: Callable[[], bool]) -> Iterator[_Sent]:
            for k, part in enumerate(parts):
                at = part.cpu()
                rows = image[first_of_each(image[at], at, together)]
                yield self._send(rows.numpy(), dimmed[k] < 1, aside)

        with closing(ahead(make, DEPTH)) as arriving:
            for at, level, sent in zip(moved(parts, self.device), dimmed, arriving, strict=True):
                yield self._made(*_received(sent), at, level, together)

    def _masks(self) -> Rows:
        if self.instance is None:
            raise ValueError("this split was loaded without masks")
        return self.instance

    def _gathered(self, images: Rows, rows: np.ndarray, pinned: bool = False) -> Tensor:
        tensor = torch.empty((len(rows), *images.shape), dtype=torch.uint8, pin_memory=pinned)
        images.gather(rows, tensor.numpy())
        return tensor

    def _send(self, rows: np.ndarray, ink: bool, aside: torch.cuda.Stream | None) -> _Sent:
        """Gather the images of these numbers, with or without masks, and let the copy to the device begin.

        A pinned tensor is used again, by the allocator that gave it, once its copy is done.
        """
        context: Any = torch.cuda.stream(aside) if aside else nullcontext()
        wanted = [self.images, self._masks()] if ink else [self.images]
        with context:
            here = [self._gathered(images, rows, pinned=aside is not None) for images in wanted]
            there = [tensor.to(self.device, non_blocking=True) for tensor in here]
            arrival = aside.record_event() if aside else None
        return _Sent(there[0], there[1] if ink else None, arrival)


def _received(sent: _Sent) -> tuple[Tensor, Tensor | None]:
    """On the device, in the order of the stream that is current here. The host does not wait."""
    if sent.arrival is not None:
        stream = torch.cuda.current_stream(sent.pixels.device)
        stream.wait_event(sent.arrival)
        for tensor in sent[:2]:
            if tensor is not None:
                tensor.record_stream(stream)  # else its memory could serve the next copy while it is still read here
    return sent.pixels, sent.ink
