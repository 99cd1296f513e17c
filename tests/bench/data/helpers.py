"""Splits on the device and streamed to it, and the threads that prefetch them."""

import threading

import torch

from bench.data.loading import load_split

CPU = torch.device("cpu")


def prefetch_threads() -> list[threading.Thread]:
    """Return the running prefetch threads."""
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def both(folder, queries="one", split="train", masks=False):
    """Return a split that is on the device, and the same split streamed."""
    return [load_split(folder, split, queries, CPU, masks, stream) for stream in (False, True)]


def same(a, b) -> None:
    """Check that all tensors of two batches are equal."""
    for x, y in zip(vars(a).values(), vars(b).values(), strict=True):
        assert (x is None and y is None) or torch.equal(x, y)
