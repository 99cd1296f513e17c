"""A split of a data set for training and testing: its questions on the device, and the batches made of it.

Shapes: N images, T questions, B images of a batch, b questions of a batch (b = B where each image is asked once), H × W
pixels.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """`images` f4 (B, 3, H, W) in 0 … 1, channels last; `query`, `label`, and which questions `at`, i8 (b,).

    `of` i8 (b,): which of the images each question is about; None where there is one about each, or K about each: then
    `query` and `label` are (B, K).
    """

    images: Tensor
    query: Tensor
    label: Tensor
    at: Tensor
    of: Tensor | None = None

    @property
    def given(self) -> tuple[Tensor, ...]:
        """What a network is called with; one that is asked one question about each image need not know `of`."""
        return (self.images, self.query) if self.of is None else (self.images, self.query, self.of)


Together = bool | int
"""How questions share images: each has its own (False), any number in a row shares one (True), or K in a row do."""


def as_they_are(step: int) -> float:
    return 1.0


def first_of_each(image: Tensor, at: Tensor, together: Together) -> Tensor:
    """Of questions `at` about `image`, i8 (b,) each, one about each image that a batch holds."""
    if together is True:
        _, counts = torch.unique_consecutive(image, return_counts=True)
        return at[counts.cumsum(0) - counts]
    return at[::together] if together else at


def moved(parts: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Return the parts on the device, copied there at once: each copy from the host's memory makes the host wait."""
    if not parts or all(part.device == device for part in parts):
        return parts
    return torch.cat(list(parts)).to(device).split([len(part) for part in parts])


@dataclass(frozen=True, kw_only=True)
class Split:
    """Of each question `image`, `slot`, `query`, `label`, i8 (T,), on the device. Subclasses say where its images are.

    `scale` f4 (T,) is there for testing only, and so are masks, but for a training that fades its backgrounds in.
    """

    image: Tensor
    slot: Tensor
    query: Tensor
    label: Tensor
    scale: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image)

    @property
    def asked_about(self) -> int:
        """How many images there are questions about."""
        return len(self.image.unique_consecutive())

    @property
    def device(self) -> torch.device:
        return self.image.device

    def pixels(self, at: Tensor) -> Tensor:
        """The images of the questions `at`, i8 (B,): u1 (B, H, W, 3) on the device."""
        raise NotImplementedError

    def ink(self, at: Tensor) -> Tensor:
        """Whose ink each pixel is, u1 (B, H, W): 0 background, k of digit slot k − 1. A ValueError without masks."""
        raise NotImplementedError

    def batch(self, at: Tensor, background: float = 1.0, together: Together = False) -> Batch:
        """The questions `at`, i8 (b,). All that is no digit is dimmed by `background`, 0 … 1, where that is below 1.

        `together`: each image once, of which the questions stand one after the other in `at`: any number of them
        (True), or K of each.
        """
        seen = first_of_each(self.image[at], at, together)
        return self._made(self.pixels(seen), self.ink(seen) if background < 1 else None, at, background, together)

    def each(self, order: Tensor, size: int, background: Callable[[int], float] = as_they_are) -> Generator[Batch]:
        """The questions `order`, i8, in batches of `size`, see `of_parts`."""
        return self.of_parts(order.split(size), background)

    def of_parts(
        self, parts: Sequence[Tensor], background: Callable[[int], float] = as_they_are, together: Together = False
    ) -> Generator[Batch]:
        """A batch of each of these questions, i8; `background(k)` is that of batch k, see `batch`.

        To be closed (`contextlib.closing`), as something may be prepared in a thread.
        """
        for k, at in enumerate(moved(parts, self.device)):
            yield self.batch(at, background(k), together)

    def batches(self, size: int) -> Generator[Batch]:
        """All questions in order, those about one image together."""
        parts = torch.arange(len(self)).split(size)
        with closing(self.of_parts(parts, together=self.asked_about < len(self))) as batches:
            yield from batches

    def masks(self, at: Tensor) -> Tensor:
        """Ink of the queried digits: bool (B, H, W)."""
        return self.ink(at) == (self.slot[at] + 1)[:, None, None]

    def of_epoch(self, epoch: int) -> "Split":
        """What epoch 0, 1, … is trained on: always the same."""
        return self

    def close(self) -> None:
        """Nothing is open between batches."""

    def _made(
        self, pixels: Tensor, ink: Tensor | None, at: Tensor, background: float, together: Together = False
    ) -> Batch:
        images = pixels.permute(0, 3, 1, 2).float().div_(255)
        if ink is not None:
            images = images.where(ink.bool().unsqueeze(1), background * images)
        query, label = self.query[at], self.label[at]
        if together is True:
            return Batch(images, query, label, at, torch.unique_consecutive(self.image[at], return_inverse=True)[1])
        if together:
            query, label = query.view(-1, together), label.view(-1, together)
        return Batch(images, query, label, at)


@dataclass(frozen=True, kw_only=True)
class Resident(Split):
    """All on the device: `images` u1 (N, H, W, 3), `instance` u1 (N, H, W) or None."""

    images: Tensor
    instance: Tensor | None = None

    def pixels(self, at: Tensor) -> Tensor:
        return self.images[self.image[at]]

    def ink(self, at: Tensor) -> Tensor:
        if self.instance is None:
            raise ValueError("this split was loaded without masks")
        return self.instance[self.image[at]]
