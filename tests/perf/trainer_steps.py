"""Measure the times of a network as it is trained: steps of a `Trainer`, with all work of the host, and validation."""

import time
from dataclasses import replace
from typing import Any

import torch

from bench.common.memory import free_memory, keep_freed
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH, RECIPES
from bench.data.split import Resident
from bench.evaluation.batch_size import in_memory, sizes
from bench.model import build
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant

WARM_UP = {"cpu": 1, "cuda": 10}
"""Untimed steps before the timed ones. On CUDA, one is recorded as a graph, and others fill the queue of launches."""
TIMED = {"cpu": 1, "cuda": 40}
VALIDATED = {"cpu": 1, "cuda": 32}
"""Images of the validation, in batches of a step."""


def measured(name: str, computing: ComputeConfig, batch: int, questions: int, variant: str) -> dict[str, Any]:
    """Return the milliseconds of a step and of validation per image, with random images in memory of the device."""
    device, spec = computing.device, get_variant(variant)
    keep_freed(device)
    recipe = replace(RECIPES["fast"], batch=batch, questions=questions)
    model = build(name, spec, 0, device)
    timed = TIMED[device.type]
    train = example(spec, batch * (WARM_UP[device.type] + timed), questions, device)
    val = example(spec, batch * VALIDATED[device.type], 1, device)
    tried = sizes(device.type, batch, spec.canvas, DEFAULT_WIDTH, free_memory(device))
    trainer = Trainer(recipe, model, TrainingSplits(train, val), 0, computing)
    trainer.eval_batch_sizes = tried
    marks: list[float] = []

    def on_step() -> None:
        if trainer.steps_done in (WARM_UP[device.type], trainer.steps_per_epoch):
            marks.append(_now(device))

    with computing.backend_flags(tuned=True):
        current = trainer.current_epoch = trainer._start_epoch()
        trainer._train_epoch(current, on_step)
        with computing.autocast():
            for _ in range(2):  # the first call chooses the algorithms of cuDNN
                started = _now(device)
                in_memory(tried, trainer._validate)
                spent = _now(device) - started
    return {
        "train_step_ms": 1e3 * (marks[1] - marks[0]) / timed,
        "infer_ms_per_image": 1e3 * spent / len(val),
        "timing_batch": batch,
        "capture": computing.capture,
    }


def example(spec: VariantSpec, images: int, questions: int, device: torch.device) -> Resident:
    """Return random images with this number of random questions per image."""
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, spec.canvas, spec.canvas, 3), generator=drawn, dtype=torch.uint8)
    asked = images * questions
    return Resident(
        image=torch.arange(images).repeat_interleave(questions).to(device),
        slot=torch.zeros(asked, dtype=torch.long, device=device),
        query=torch.randint(spec.queries, (asked,), generator=drawn).to(device),
        label=torch.randint(spec.classes, (asked,), generator=drawn).to(device),
        images=pixels.to(device),
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
