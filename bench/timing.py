"""Time of a training step and of inference, and peak memory: after warm-up, medians of repeats, the device waited for.

The data are random images on the device already: what is timed is the network, its loss, its gradients and its update.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from bench.config import Recipe
from bench.train import OPTIMIZERS

WARM_UP, REPEATS = 2, 5


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a step over `batch` images; of inference per image; megabytes."""

    train_step_ms: float
    infer_ms_per_image: float
    peak_memory_mb: float
    timing_batch: int
    threads: int


def measure(
    model: nn.Module, recipe: Recipe, canvas: int, classes: int, queries: int, device: torch.device, precision: str
) -> Timing:
    """Time `model`, whose weights and statistics are left as they were. The batch is the recipe's."""
    kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
    images = torch.rand(recipe.batch, 3, canvas, canvas, device=device).to(memory_format=torch.channels_last)
    query = torch.randint(queries, (recipe.batch,), device=device)
    label = torch.randint(classes, (recipe.batch,), device=device)
    optimizer = OPTIMIZERS[recipe.optimizer](model.parameters(), lr=1e-6)
    casting = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")

    def step() -> None:
        with casting:
            logits = model(images, query).logits
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), label).backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()

    def infer() -> None:
        with torch.inference_mode(), casting:
            model(images, query)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model.train()
    step_seconds = _median(step, device)
    memory = peak_memory(device)
    model.eval()
    infer_seconds = _median(infer, device)
    model.load_state_dict(kept)
    return Timing(step_seconds * 1e3, infer_seconds * 1e3 / recipe.batch, memory, recipe.batch, torch.get_num_threads())


def _median(work: Callable[[], None], device: torch.device) -> float:
    seconds = []
    for repeat in range(WARM_UP + REPEATS):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        if repeat >= WARM_UP:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """On a GPU the most that was allocated since the last reset, on a CPU the most this process ever held; in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
