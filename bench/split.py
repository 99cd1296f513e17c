"""A split of a data set for training and testing: its questions on the device, and the batches made of it.

Shapes: N images, T questions, B batch, H × W pixels.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """`images` f4 (B, 3, H, W) in 0 … 1, channels last; `query`, `label`, and which questions `at`, i8 (B,)."""

    images: Tensor
    query: Tensor
    label: Tensor
    at: Tensor


def as_they_are(step: int) -> float:
    return 1.0


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
    def device(self) -> torch.device:
        return self.image.device

    def pixels(self, at: Tensor) -> Tensor:
        """The images of the questions `at`, i8 (B,): u1 (B, H, W, 3) on the device."""
        raise NotImplementedError

    def ink(self, at: Tensor) -> Tensor:
        """Whose ink each pixel is, u1 (B, H, W): 0 background, k of digit slot k − 1. A ValueError without masks."""
        raise NotImplementedError

    def batch(self, at: Tensor, background: float = 1.0) -> Batch:
        """The questions `at`, i8 (B,). All that is no digit is dimmed by `background`, 0 … 1, where that is below 1."""
        return self._made(self.pixels(at), self.ink(at) if background < 1 else None, at, background)

    def each(self, order: Tensor, size: int, background: Callable[[int], float] = as_they_are) -> Generator[Batch]:
        """The questions `order`, i8, in batches of `size`; `background(k)` is that of batch k, see `batch`.

        To be closed (`contextlib.closing`), as something may be prepared in a thread.
        """
        for k, at in enumerate(order.to(self.device).split(size)):
            yield self.batch(at, background(k))

    def batches(self, size: int) -> Generator[Batch]:
        """All questions in order."""
        with closing(self.each(torch.arange(len(self)), size)) as batches:
            yield from batches

    def masks(self, at: Tensor) -> Tensor:
        """Ink of the queried digits: bool (B, H, W)."""
        return self.ink(at) == (self.slot[at] + 1)[:, None, None]

    def of_epoch(self, epoch: int) -> "Split":
        """What epoch 0, 1, … is trained on: always the same."""
        return self

    def close(self) -> None:
        """Nothing is open between batches."""

    def _made(self, pixels: Tensor, ink: Tensor | None, at: Tensor, background: float) -> Batch:
        images = pixels.permute(0, 3, 1, 2).float().div_(255)
        if ink is not None:
            images = images.where(ink.bool().unsqueeze(1), background * images)
        return Batch(images, self.query[at], self.label[at], at)


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
