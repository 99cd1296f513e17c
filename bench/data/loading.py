"""Shards → a split for training or testing: on the device where it fits, else streamed to it."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.common.memory import fits, free_memory
from bench.data.split import Resident, Split
from bench.data.streaming import Rows, Streamed
from mnistref.dataset import Triples, map_split, read_split, read_triples

log = logging.getLogger("bench")


def load_split(
    folder: Path, split: str, queries: str, device: torch.device, masks: bool = False, stream: bool | None = None
) -> Split:
    """A split for the device; with `masks`, what a test needs too.

    `stream`: leave its images on the disk, or do not; by default they come onto the device as bytes where there is room
    for them.
    """
    questions, parts = read_triples(folder, split, queries), map_split(folder, split)
    arrays = read_split(folder, split, "instance", "digit_scale") if masks else {}
    scale = torch.from_numpy(arrays["digit_scale"][questions.image, questions.slot]).to(device) if masks else None
    return place(parts, arrays.get("instance"), questions, device, stream, split, scale)


def place(
    parts: list[np.ndarray],
    instance: np.ndarray | None,
    questions: Triples,
    device: torch.device,
    stream: bool | None,
    name: str,
    scale: Tensor | None = None,
) -> Split:
    """Images u1 (n, H, W, 3) of several arrays, masks u1 (N, H, W) or none, and questions, as a split for the device.

    `parts` is used up: an array that is copied is let go of before the next, so that there are never two of all.
    """
    images, shape = sum(map(len, parts)), parts[0].shape[1:]
    size = images * math.prod(shape)
    if stream is None and not _is_there(parts, device) and not fits(size, device):
        stream = True
        free = (free_memory(device) or 0) / 1e9
        log.info("%s: %.1f GB of images do not fit into %.1f GB of memory and are streamed", name, size / 1e9, free)
    image, slot, query, label = (torch.from_numpy(array).to(device) for array in questions)
    asked: dict[str, Any] = {"image": image, "slot": slot, "query": query, "label": label, "scale": scale}
    if stream:
        return Streamed(**asked, images=Rows(parts), instance=None if instance is None else Rows([instance]))
    there = _copied(parts, (images, *shape), device)
    return Resident(**asked, images=there, instance=None if instance is None else torch.from_numpy(instance).to(device))


def _is_there(parts: list[np.ndarray], device: torch.device) -> bool:
    """Whether all lies in this memory already, in one array."""
    return len(parts) == 1 and device.type == "cpu" and parts[0].flags.owndata


def _copied(parts: list[np.ndarray], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """One tensor of all; a single array that lies in this memory already is not copied."""
    if _is_there(parts, device):
        return torch.from_numpy(parts[0])
    whole, first = torch.empty(shape, dtype=torch.uint8, device=device), 0
    while parts:
        part = parts.pop(0)
        whole[first : first + len(part)] = torch.from_numpy(part)
        first += len(part)
    return whole
