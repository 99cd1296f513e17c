"""Construction and calls of a module as the network uses it in a slot, with fixed seeds. For `bench check`."""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from bench.attention.base import Changed, Gate, PooledReadout, Reading, Readout, Scored
from bench.attention.mechanism import Mechanism
from bench.config import DEFAULT_WIDTH
from bench.model import number_of_stages
from mnistref.common.errors import ForeseenError
from mnistref.variants import VARIANTS

QUERIES = 10
"""Number of queries of the modules that are checked."""

ModuleOutput: TypeAlias = Tensor | Scored | Changed | Reading
"""The output of a module, see `bench.attention.base`."""


class UnfitError(ForeseenError):
    """A check failed. The message has the reason."""


class UntestedError(Exception):
    """A check cannot be done. The message has the reason."""


def build_module(mechanism: Mechanism) -> nn.Module:
    """Return the bare module, with a query."""
    return mechanism.build_module(DEFAULT_WIDTH, QUERIES, last=mechanism.last_only)


def build_slot(mechanism: Mechanism) -> nn.Module:
    """Return the module as the network uses it. Its parameters are changed, because zeros would hide gradients."""
    torch.manual_seed(1)
    module = build_module(mechanism)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module if isinstance(module, Readout) else Gate(module, DEFAULT_WIDTH)


def slot_sizes(last: bool = False, canvas: int | None = None) -> list[tuple[int, int]]:
    """Return the heights and widths of the features in the slots of the networks, in ascending order.

    Args:
        last: whether to return only those of the last slot.
        canvas: side of the images; None for those of all variants.
    """
    canvases = {variant.canvas for variant in VARIANTS.values()} if canvas is None else {canvas}
    sides = {
        canvas >> k
        for canvas in canvases
        for k in range(number_of_stages(canvas) if last else 1, number_of_stages(canvas) + 1)
    }
    return [(side, side) for side in sorted(sides)]


def make_inputs(height: int, width: int, batch: int = 3) -> tuple[Tensor, Tensor]:
    """Return random features (batch, DEFAULT_WIDTH, height, width), and one-hot queries (batch, QUERIES)."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, DEFAULT_WIDTH, height, width, generator=generator).relu()
    return x, torch.eye(QUERIES)[torch.arange(batch) % QUERIES]


def adapt_features(module: nn.Module, x: Tensor) -> Tensor | list[Tensor]:
    """Return the first argument of a module: the features, or a list of the features of all slots for a readout."""
    if isinstance(module, PooledReadout):
        return [x]
    inner = getattr(module, "attend", module)
    return [x.repeat(1, 1, 2**k, 2**k) for k in (3, 2, 1, 0)] if isinstance(inner, Readout) else x


def run_module(module: nn.Module, x: Tensor, query: Tensor, seed: int = 3) -> dict[str, Tensor]:
    """Call a module with this seed, and return all tensors of its output by name."""
    torch.manual_seed(seed)
    return name_outputs(module(adapt_features(module, x), query))


def name_outputs(output: ModuleOutput) -> dict[str, Tensor]:
    """Return all tensors of the output of a module by name."""
    if isinstance(output, Tensor):
        return {"the score": output}
    if isinstance(output, Scored):
        return {"features": output.features, "the score": output.score}
    named = {"vectors": output.vectors} if isinstance(output, Reading) else {"features": output.features}
    masks = [output.mask] if isinstance(output, Changed) else output.masks
    return named | {f"map {k}": mask for k, mask in enumerate(masks) if mask is not None}


@torch.no_grad()
def is_random_in_evaluation(mechanism: Mechanism) -> bool:
    """Return whether the output in evaluation mode depends on the seed."""
    module = build_slot(mechanism).eval()
    first, other = (run_module(module, *make_inputs(6, 5), seed=seed) for seed in (3, 99))
    return any(not torch.equal(value, other[name]) for name, value in first.items())


@torch.no_grad()
def describe_leak(mechanism: Mechanism, training: bool = False, freeze_batch_norm: bool = False) -> str:
    """Return how the output for an image depends on the other images in the batch; an empty string if it does not.

    Args:
        mechanism: built anew for each call, so that no state is carried from one call to the next.
        training: whether to use the bare module in training mode, without the network's own BatchNorm.
        freeze_batch_norm: whether the BatchNorm of the module is in evaluation mode.

    Raises:
        UntestedError: the number of random draws depends on the images, so that equal seeds do not give equal draws.
    """

    def call_module(x: Tensor, query: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        module = build_slot(mechanism).train(training)
        if training and isinstance(module, Gate):
            module = module.attend
        for part in module.modules():
            if freeze_batch_norm and isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        return run_module(module, x, query), torch.get_rng_state()

    x, query = make_inputs(6, 5, batch=4)
    expected, expected_state = call_module(x, query)
    for k in range(4):
        others = [j for j in range(4) if j != k]
        changed_x, changed_query = x.clone(), query.clone()
        changed_x[k], changed_query[k] = 3 * x[k].flip(0, 1) + 1, query[k].roll(5)
        outputs, state = call_module(changed_x, changed_query)
        if not torch.equal(expected_state, state):
            raise UntestedError("the number of random draws depends on the images")
        for name, value in expected.items():
            difference = float((outputs[name][others] - value[others]).abs().max())
            if not difference <= 1e-6:
                return f"{name} of an image changes by {difference:.2g} when another image of the batch changes"
    return ""
