"""A split of a data set for training and testing: its questions on the device, and its batches.

Shapes: N images, T questions, B images per batch, b questions per batch (b = B if there is one question about each
image), H × W pixels.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of questions.

    If there are K questions about each image, `query` and `label` are (B, K).

    Attributes:
        images: f4 (B, 3, H, W) in 0 … 1, channels last.
        query: i8 (b,).
        label: i8 (b,).
        indices: i8 (b,), the indices of the questions in the split.
        image_index: i8 (b,), the index of the image of each question; None if there is one question, or K questions,
            about each image.
    """

    images: Tensor
    query: Tensor
    label: Tensor
    indices: Tensor
    image_index: Tensor | None = None

    @property
    def network_inputs(self) -> tuple[Tensor, ...]:
        """The arguments of the network, without `image_index` if it is None: simple networks need not accept it."""
        return (self.images, self.query) if self.image_index is None else (self.images, self.query, self.image_index)


ImageSharing = bool | int
"""How questions share images.

- False: each question has its own image;
- True: any number of consecutive questions share an image;
- K: K consecutive questions share an image.
"""


def full_background(step: int) -> float:
    """Return 1: backgrounds are not dimmed in any step."""
    return 1.0


def first_question_per_image(image: Tensor, indices: Tensor, sharing: ImageSharing) -> Tensor:
    """Return the first question about each image of a batch.

    Args:
        image: i8 (b,), the image of each question.
        indices: i8 (b,), the questions.
        sharing: how they share images.
    """
    if sharing is True:
        _, counts = torch.unique_consecutive(image, return_counts=True)
        return indices[counts.cumsum(0) - counts]
    return indices[::sharing] if sharing else indices


def move_in_one_copy(parts: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Return the parts on the device, copied there at once: each copy from the host's memory makes the host wait."""
    if not parts or all(part.device == device for part in parts):
        return parts
    moved: Sequence[Tensor] = torch.cat(list(parts)).to(device).split([len(part) for part in parts])
    return moved


@dataclass(frozen=True, kw_only=True)
class Split:
    """The questions of a split. Subclasses hold the images.

    Attributes:
        image: i8 (T,), index of the image of each question, on the device.
        slot: i8 (T,), slot of the queried digit.
        query: i8 (T,).
        label: i8 (T,).
        scale: f4 (T,), scale of the queried digit. Splits for training and of tasks have none.
        asks: whether images come with questions. If not, each image has one, and its query is 0.

    Splits for testing have masks, and so do splits for a training that fades in the background. A task may have none.
    """

    image: Tensor
    slot: Tensor
    query: Tensor
    label: Tensor
    scale: Tensor | None = None
    asks: bool = True

    def __len__(self) -> int:
        return len(self.image)

    @property
    def image_count(self) -> int:
        """The number of images with questions."""
        return len(self.image.unique_consecutive())

    @property
    def device(self) -> torch.device:
        """The device of the questions and of the batches."""
        return self.image.device

    @property
    def has_masks(self) -> bool:
        """Whether the split was loaded with masks."""
        return getattr(self, "instance", None) is not None

    def pixels(self, indices: Tensor) -> Tensor:
        """Return the images of the questions `indices`, i8 (B,), as u1 (B, H, W, 3) on the device."""
        raise NotImplementedError

    def ink(self, indices: Tensor) -> Tensor:
        """Return the digit that each pixel belongs to, u1 (B, H, W): 0 for background, k for the digit in slot k − 1.

        Raises:
            ValueError: the split was loaded without masks.
        """
        raise NotImplementedError

    def batch(self, indices: Tensor, background: float = 1.0, sharing: ImageSharing = False) -> Batch:
        """Return the batch of the questions `indices`, i8 (b,).

        Args:
            indices: the questions. Questions about one image are consecutive if they share it.
            background: brightness of all pixels outside digits, 0 … 1.
            sharing: how the questions share images. With True or K, each image is in the batch once.
        """
        first = first_question_per_image(self.image[indices], indices, sharing)
        return self._build_batch(
            self.pixels(first), self.ink(first) if background < 1 else None, indices, background, sharing
        )

    def iter_batches(
        self, order: Tensor, size: int, background: Callable[[int], float] = full_background
    ) -> Generator[Batch]:
        """Yield the questions `order`, i8, in batches of `size`, see `iter_index_batches`."""
        return self.iter_index_batches(order.split(size), background)

    def iter_index_batches(
        self,
        parts: Sequence[Tensor],
        background: Callable[[int], float] = full_background,
        sharing: ImageSharing = False,
    ) -> Generator[Batch]:
        """Yield a batch of each part.

        Close the generator (`contextlib.closing`), because a thread may prepare batches.

        Args:
            parts: the questions of each batch, i8.
            background: returns the brightness of the background of batch k, see `batch`.
            sharing: how questions share images, see `batch`.
        """
        for k, indices in enumerate(move_in_one_copy(parts, self.device)):
            yield self.batch(indices, background(k), sharing)

    def batches(self, size: int) -> Generator[Batch]:
        """Yield all questions in order, in batches of `size` questions. Questions about one image share it."""
        parts = torch.arange(len(self)).split(size)
        with closing(self.iter_index_batches(parts, sharing=self.image_count < len(self))) as batches:
            yield from batches

    def masks(self, indices: Tensor) -> Tensor:
        """Return the ink of the queried digits: bool (B, H, W)."""
        return self.ink(indices) == (self.slot[indices] + 1)[:, None, None]

    def split_for_epoch(self, epoch: int) -> "Split":
        """Return the data of epoch 0, 1, …: always this split."""
        return self

    def close(self) -> None:
        """Release resources. There are none between batches."""

    def _build_batch(
        self, pixels: Tensor, ink: Tensor | None, indices: Tensor, background: float, sharing: ImageSharing = False
    ) -> Batch:
        images = pixels.permute(0, 3, 1, 2).float().div_(255)
        if ink is not None:
            images = images.where(ink.bool().unsqueeze(1), background * images)
        query, label = self.query[indices], self.label[indices]
        if sharing is True:
            return Batch(
                images, query, label, indices, torch.unique_consecutive(self.image[indices], return_inverse=True)[1]
            )
        if sharing:
            query, label = query.view(-1, sharing), label.view(-1, sharing)
        return Batch(images, query, label, indices)


@dataclass(frozen=True, kw_only=True)
class Resident(Split):
    """A split on the device: `images` u1 (N, H, W, 3), `instance` u1 (N, H, W) or None."""

    images: Tensor
    instance: Tensor | None = None

    def pixels(self, indices: Tensor) -> Tensor:
        """Return the images of the questions, see `Split.pixels`."""
        return self.images[self.image[indices]]

    def ink(self, indices: Tensor) -> Tensor:
        """Return the masks of the questions, see `Split.ink`."""
        if self.instance is None:
            raise ValueError("this split was loaded without masks; call load_split with masks=True")
        return self.instance[self.image[indices]]
