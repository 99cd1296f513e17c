"""A module as the network uses it in a slot, called under one seed: what `bench check` asks its questions of."""

from typing import Any

import torch
from torch import Tensor, nn

from bench.attention.base import Changed, Gate, Reading, Readout, Scored
from bench.attention.mechanism import Mechanism
from bench.config import DEFAULT_WIDTH
from bench.model import number_of_stages
from mnistref.variants import VARIANTS

QUERIES = 10


class UnfitError(Exception):
    """An answer that is no."""


class UntestedError(Exception):
    """An answer that cannot be had."""


def made(mechanism: Mechanism) -> nn.Module:
    """The bare module, with a query."""
    return mechanism.make(DEFAULT_WIDTH, QUERIES, last=mechanism.last_only)


def slot(mechanism: Mechanism) -> nn.Module:
    """The module as the network uses it, its parameters moved from where they start (zeros would hide gradients)."""
    torch.manual_seed(1)
    module = made(mechanism)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module if isinstance(module, Readout) else Gate(module, DEFAULT_WIDTH)


def slot_sizes(last: bool = False) -> list[tuple[int, int]]:
    """Return the sizes of maps in the slots of the networks for all variants, small to large.

    Args:
        last: only those of the last slot.
    """
    canvases = {variant.canvas for variant in VARIANTS.values()}
    sides = {
        canvas >> k
        for canvas in canvases
        for k in range(number_of_stages(canvas) if last else 1, number_of_stages(canvas) + 1)
    }
    return [(side, side) for side in sorted(sides)]


def inputs(height: int, width: int, batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, DEFAULT_WIDTH, height, width, generator=generator).relu()
    return x, torch.eye(QUERIES)[torch.arange(batch) % QUERIES]


def given(module: nn.Module, x: Tensor) -> Any:
    """What a module is called with: features, or those of every slot for a readout."""
    inner = getattr(module, "attend", module)
    return [x.repeat(1, 1, 2**k, 2**k) for k in (3, 2, 1, 0)] if isinstance(inner, Readout) else x


def run(module: nn.Module, x: Tensor, query: Tensor, seed: int = 3) -> dict[str, Tensor]:
    """Everything that comes out, by name, drawn under one seed."""
    torch.manual_seed(seed)
    return named(module(given(module, x), query))


def named(out: Any) -> dict[str, Tensor]:
    """The tensors that a module returned, by name."""
    if isinstance(out, Tensor):
        return {"the score": out}
    if isinstance(out, Scored):
        return {"features": out.features, "the score": out.score}
    found = {"vectors": out.vectors} if isinstance(out, Reading) else {"features": out.features}
    masks = [out.mask] if isinstance(out, Changed) else out.masks
    return found | {f"map {k}": mask for k, mask in enumerate(masks) if mask is not None}


@torch.no_grad()
def draws(mechanism: Mechanism) -> bool:
    """Whether it is random in evaluation."""
    module = slot(mechanism).eval()
    first, other = (run(module, *inputs(6, 5), seed=seed) for seed in (3, 99))
    return any(not torch.equal(value, other[name]) for name, value in first.items())


@torch.no_grad()
def leak(mechanism: Mechanism, training: bool = False, still: bool = False) -> str:
    """What of an image changes when another one of its batch does, under the same seed; nothing where nothing does.

    Args:
        mechanism: is made anew for each call, so that nothing is kept between them.
        training: the bare module as in training (the network's own BatchNorm, which sees the batch, is left out).
        still: and with its BatchNorm as in evaluation.

    Raises:
        UntestedError: how much it draws depends on what it sees, so that the same seed is not the same draw.
    """

    def called(x: Tensor, query: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        module = slot(mechanism).train(training)
        if training and isinstance(module, Gate):
            module = module.attend
        for part in module.modules():
            if still and isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        return run(module, x, query), torch.get_rng_state()

    x, query = inputs(6, 5, batch=4)
    first, drawn = called(x, query)
    for k in range(4):
        others = [j for j in range(4) if j != k]
        x_moved, query_moved = x.clone(), query.clone()
        x_moved[k], query_moved[k] = 3 * x[k].flip(0, 1) + 1, query[k].roll(5)
        moved, drawn_then = called(x_moved, query_moved)
        if not torch.equal(drawn, drawn_then):
            raise UntestedError("how much it draws depends on the images")
        for name, value in first.items():
            difference = float((moved[name][others] - value[others]).abs().max())
            if not difference <= 1e-6:
                return f"{name} of an image changes by {difference:.2g} when another in its batch does"
    return ""
