"""Shards → tensors on the device, whole and as bytes, and the batches made of them.

Shapes: N images, T questions, B batch, H × W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnistref.dataset import read_split, read_triples


@dataclass(frozen=True)
class Batch:
    """`images` f4 (B, 3, H, W) in 0 … 1, channels last; `query`, `label`, and which questions `at`, i8 (B,)."""

    images: Tensor
    query: Tensor
    label: Tensor
    at: Tensor


@dataclass(frozen=True)
class Split:
    """A split on the device. `images` u1 (N, H, W, 3); of each question `image`, `slot`, `query`, `label` i8 (T,).

    `instance` u1 (N, H, W) and `scale` f4 (T,) are there for testing only.
    """

    images: Tensor
    image: Tensor
    slot: Tensor
    query: Tensor
    label: Tensor
    instance: Tensor | None = None
    scale: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image)

    def batch(self, at: Tensor, background: float = 1.0) -> Batch:
        """The questions `at`, i8 (B,). All that is no digit is dimmed by `background`, 0 … 1, where that is below 1."""
        pixels = self.images[self.image[at]].permute(0, 3, 1, 2).float().div_(255)
        if background < 1:
            if self.instance is None:
                raise ValueError("this split was loaded without masks")
            digits = self.instance[self.image[at]].bool().unsqueeze(1)
            pixels = pixels.where(digits, background * pixels)
        return Batch(pixels, self.query[at], self.label[at], at)

    def batches(self, size: int) -> Iterator[Batch]:
        """All questions in order."""
        for at in torch.arange(len(self), device=self.image.device).split(size):
            yield self.batch(at)

    def masks(self, at: Tensor) -> Tensor:
        """Ink of the queried digits: bool (B, H, W)."""
        if self.instance is None:
            raise ValueError("this split was loaded without masks")
        return self.instance[self.image[at]] == (self.slot[at] + 1)[:, None, None]


def load_split(folder: Path, split: str, queries: str, device: torch.device, masks: bool = False) -> Split:
    """Read a split onto the device; with `masks`, what a test needs too."""
    names = ("image", "instance", "digit_scale") if masks else ("image",)
    arrays = read_split(folder, split, *names)
    questions = read_triples(folder, split, queries)

    def put(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Split(
        put(arrays["image"]),
        put(questions.image),
        put(questions.slot),
        put(questions.query),
        put(questions.label),
        instance=put(arrays["instance"]) if masks else None,
        scale=put(arrays["digit_scale"][questions.image, questions.slot]) if masks else None,
    )
