"""Loading of a split for training or testing: onto the device if it fits there, otherwise as a stream."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.common.memory import fits_memory, free_memory
from bench.data import sets
from bench.data.split import Resident, Split
from bench.data.streaming import ImageArrays, Streamed
from mnistref.dataset import MnistRef, Triples, map_split, read_split

log = logging.getLogger("bench")


def load_split(
    folder: Path, split: str, queries: str, device: torch.device, masks: bool = False, stream: bool | None = None
) -> Split:
    """Return a split of a data set for a device.

    Args:
        folder: the data set.
        split: its name.
        queries: the questions to load, see `mnistref.dataset.read_triples`.
        device: where batches are used.
        masks: whether to load masks and scales too, as a test needs them. A task may have none.
        stream: whether images stay on the disk; by default, if they do not fit onto the device as bytes.
    """
    questions, parts = sets.read_triples(folder, split, queries), sets.map_split(folder, split)
    instance = sets.read_ink(folder, split) if masks else None
    scales = sets.read_scales(folder, split, questions) if masks else None
    scale = None if scales is None else torch.from_numpy(scales).to(device)
    content = SplitContent(parts, instance, questions, scale, sets.read_manifest(folder).variant.asks)
    return build_split(content, split, device, stream)


def load_questions(dataset: MnistRef, device: torch.device) -> Split:
    """Return the questions of a data set object, with masks and scales, for a device. Its transforms are not applied.

    Args:
        dataset: the questions. Of a slice, only the images with questions are loaded.
        device: where batches are used.
    """
    used, image = np.unique(dataset.triples.image, return_inverse=True)
    if len(used) == dataset.manifest.images(dataset.split):
        parts = map_split(dataset.folder, dataset.split)
        instance = read_split(dataset.folder, dataset.split, "instance")["instance"]
    else:
        pairs = [dataset.read_image(k) for k in used.tolist()]
        parts = [np.stack([pixels.numpy().transpose(1, 2, 0) for pixels, _ in pairs])]
        instance = np.stack([ink for _, ink in pairs])
    scale = torch.from_numpy(dataset.scale).to(device)
    content = SplitContent(parts, instance, dataset.triples._replace(image=image), scale, dataset.variant.asks)
    return build_split(content, dataset.split, device)


@dataclass(frozen=True)
class SplitContent:
    """The images, masks and questions of a split, as NumPy arrays.

    Attributes:
        parts: arrays of images, u1 (n, H, W, 3). `build_split` empties the list: each array is released as soon as it
            is copied, so that memory never holds two copies of all images.
        instance: masks, u1 (N, H, W), or None.
        questions: the T questions.
        scale: scale of each queried digit, f4 (T,) on the device, or None.
        asks: whether images come with questions.
    """

    parts: list[np.ndarray]
    instance: np.ndarray | None
    questions: Triples
    scale: Tensor | None = None
    asks: bool = True


def build_split(content: SplitContent, name: str, device: torch.device, stream: bool | None = None) -> Split:
    """Return images, masks and questions as a split for the device.

    Args:
        content: the images, masks and questions. Its list of images is emptied.
        name: the name of the split in log messages.
        device: where batches are used.
        stream: as in `load_split`.
    """
    parts, instance = content.parts, content.instance
    images, shape = sum(map(len, parts)), parts[0].shape[1:]
    size = images * math.prod(shape)
    if stream is None and not _is_resident(parts, device) and not fits_memory(size, device):
        stream = True
        free = (free_memory(device) or 0) / 1e9
        log.info("%s: %.1f GB of images do not fit into %.1f GB of memory and are streamed", name, size / 1e9, free)
    image, slot, query, label = (torch.from_numpy(array).to(device) for array in content.questions)
    if stream:
        return Streamed(
            image=image,
            slot=slot,
            query=query,
            label=label,
            scale=content.scale,
            asks=content.asks,
            images=ImageArrays(parts),
            instance=None if instance is None else ImageArrays([instance]),
        )
    pixels = _copy_to_device(parts, (images, *shape), device)
    ink = None if instance is None else torch.from_numpy(instance).to(device)
    return Resident(
        image=image,
        slot=slot,
        query=query,
        label=label,
        scale=content.scale,
        asks=content.asks,
        images=pixels,
        instance=ink,
    )


def _is_resident(parts: list[np.ndarray], device: torch.device) -> bool:
    """Return whether the images are one array in the memory of the device."""
    return len(parts) == 1 and device.type == "cpu" and parts[0].flags.owndata


def _copy_to_device(parts: list[np.ndarray], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return one tensor of all images. A single array in the memory of the device is not copied."""
    if _is_resident(parts, device):
        return torch.from_numpy(parts[0])
    whole, first = torch.empty(shape, dtype=torch.uint8, device=device), 0
    while parts:
        part = parts.pop(0)
        whole[first : first + len(part)] = torch.from_numpy(part)
        first += len(part)
    return whole
