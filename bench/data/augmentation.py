"""Random changes of training images, the same for every mechanism, and the same after a training was resumed.

What happens to an image depends on the seed, the epoch and the index of the image alone. Pure.

Shapes: B images of H × W pixels.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from bench.data.split import Batch, ImageSharing, Split, first_question_per_image

NO_CHANGE = "none"
FLIP, CROP = "flip", "crop"
MAX_SHIFT = 4
"""Largest shift of `crop` in pixels. The border is filled by reflection."""
_MULTIPLIER, _INCREMENT = 6_364_136_223_846_793_005, 1_442_695_040_888_963_407


@dataclass(frozen=True)
class Augmentation:
    """The changes of one epoch.

    Attributes:
        kind: one of `bench.config.AUGMENTATIONS`.
        seed: seed of the run.
        epoch: number of the epoch.
    """

    kind: str
    seed: int
    epoch: int

    @cached_property
    def _key(self) -> int:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return int(torch.randint(2**62, (1,), generator=generator))

    def __call__(self, batch: Batch, split: Split, sharing: ImageSharing) -> Batch:
        """Return the batch with changed images.

        Args:
            batch: a batch of the split.
            split: the split.
            sharing: how questions share images in the batch.
        """
        if self.kind == NO_CHANGE:
            return batch
        first = first_question_per_image(split.image[batch.indices], batch.indices, sharing)
        return replace(batch, images=self.change(batch.images, split.image[first]))

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return changed images, f4 (B, 3, H, W), channels last.

        Args:
            images: f4 (B, 3, H, W).
            numbers: i8 (B,), the index of each image in its split.
        """
        down, right, is_mirrored = self.draw(numbers)
        height, width = images.shape[2:]
        rows = _reflect(torch.arange(height, device=images.device) + down[:, None], height)
        columns = _reflect(torch.arange(width, device=images.device) + right[:, None], width)
        columns = torch.where(is_mirrored[:, None], columns.flip(1), columns)
        at = torch.arange(len(images), device=images.device)[:, None, None]
        return images.permute(0, 2, 3, 1)[at, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def draw(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the shifts down and to the right, i8 (B,), and which images are mirrored, bool (B,)."""
        bits = self._bits(numbers)
        is_mirrored = bits % 2 == 1
        if CROP not in self.kind:
            still = torch.zeros_like(bits)
            return still, still, is_mirrored
        steps = 2 * MAX_SHIFT + 1
        return bits // 2 % steps - MAX_SHIFT, bits // (2 * steps) % steps - MAX_SHIFT, is_mirrored

    def _bits(self, numbers: Tensor) -> Tensor:
        """Return 31 random bits for each image, i8 (B,): the upper bits of a mixed counter (modulo 2⁶⁴)."""
        state = numbers * _MULTIPLIER + self._key
        for shift in (29, 32):
            state = (state ^ (state >> shift)) * _MULTIPLIER + _INCREMENT
        return (state >> 33) & (2**31 - 1)


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Return positions in 0 … size − 1, reflected at the outer pixels, which are not repeated."""
    inside = positions.abs()
    return torch.where(inside >= size, 2 * (size - 1) - inside, inside)
