"""The questions that `bench check` asks of a module: functions that raise `UnfitError` where the answer is no."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.attention.base import Changed, Readout, Scored
from bench.attention.mechanism import Mechanism
from bench.attention.plugins import imported_anew
from bench.config import DEFAULT_WIDTH
from bench.conformance.probe import (
    UnfitError,
    UntestedError,
    draws,
    given,
    inputs,
    leak,
    made,
    named,
    run,
    slot,
    slot_sizes,
)
from bench.conformance.rehearsal import TESTED, distinct_variants, rehearse, rehearse_batches, rehearse_resuming
from bench.model import create_model
from mnistref.spec import VariantSpec

SIZES = ((25, 25), (7, 13), (1, 9), (1, 1))


def _shapes(mechanism: Mechanism) -> None:
    """In evaluation and in training, for one image and for several, at every size of a slot."""
    sizes = (*SIZES, *slot_sizes(last=isinstance(made(mechanism), Readout)))
    asked = [(False, batch, size) for size in sizes for batch in (1, 2)]
    asked += [(True, 2, size) for size in sizes]
    for training, batch, (height, width) in asked:
        module = made(mechanism).train(training)
        x, query = inputs(height, width, batch)
        out = module(given(module, x), query)
        at = f"for features {tuple(x.shape)}{' in training' * training}"
        if isinstance(module, Readout):
            _want(out.vectors.shape[::2], (batch, DEFAULT_WIDTH * module.levels), f"vectors {at} (first and last size)")
            _want_type(out.vectors, x, f"vectors {at}")
            continue
        features, one = (out.features, out[1]) if isinstance(out, Scored | Changed) else (x, out)
        if not isinstance(features, Tensor) or not isinstance(one, Tensor | None):
            raise UnfitError(f"returns {type(out).__name__} {at}; wanted a score map, Scored or Changed")
        _want(features.shape, x.shape, f"features {at}")
        _want_type(features, x, f"features {at}")
        if one is not None:
            _want(one.shape, (batch, 1, height, width), f"a map {at}, one number a position")
        if one is not None and not isinstance(out, Changed):
            _want_type(one, x, f"a score {at}")


def _want(shape: Any, wanted: Any, what: str) -> None:
    if tuple(shape) != tuple(wanted):
        raise UnfitError(f"returns {tuple(shape)}, wanted {tuple(wanted)}: {what}")


def _want_type(value: Tensor, x: Tensor, what: str) -> None:
    if value.dtype != x.dtype:
        raise UnfitError(f"returns {value.dtype}, wanted {x.dtype}, that of the features: {what}")


def _ranges(mechanism: Mechanism) -> None:
    module = slot(mechanism).eval()
    for size in SIZES:
        for name, value in run(module, *inputs(*size)).items():
            if not value.isfinite().all():
                raise UnfitError(f"{name} is not finite for a map of {size[0]} × {size[1]}")
            if name.startswith("map") and (value.min() < 0 or value.max() > 1 + 1e-5):
                raise UnfitError(f"{name} reaches from {value.min():.3g} to {value.max():.3g}; wanted 0 … 1")
            if name.startswith("map") and isinstance(module, Readout):
                sums = value.sum(dim=(1, 2, 3))
                if (sums - 1).abs().max() > 1e-3:
                    raise UnfitError(f"{name} sums to {float(sums[0]):.3g}; in the last slot a map sums to 1")


def _gradients(mechanism: Mechanism) -> None:
    module = slot(mechanism)
    x, query = inputs(7, 9)
    x.requires_grad_()
    out = run(module, x, query)
    generator = torch.Generator().manual_seed(4)
    weighted = [(value * torch.randn(value.shape, generator=generator)).sum() for value in out.values()]
    torch.stack(weighted).sum().backward()
    trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    for name, parameter in [*trained, ("the features", x)]:
        name = name.removeprefix("attend.")
        if parameter.grad is None or parameter.grad.abs().max() == 0:
            raise UnfitError(f"no gradient reaches {name}: is it used, and is the graph not cut (detach, argmax)?")
        if not parameter.grad.isfinite().all():
            raise UnfitError(f"the gradient of {name} is not finite")


def _registered(mechanism: Mechanism) -> None:
    module = slot(mechanism).double().eval()
    x, query = inputs(5, 6)
    try:
        run(module, x.double(), query.double())
    except RuntimeError as error:
        why = " ".join(str(error).split())[:200]
        raise UnfitError(f"fails in double precision ({why}): a tensor is neither parameter nor buffer?") from error


def _deterministic(mechanism: Mechanism) -> None:
    module = slot(mechanism).eval()
    x, query = inputs(6, 5)
    first, again = run(module, x, query), run(module, x, query)
    for name, value in first.items():
        if not torch.equal(value, again[name]):
            raise UnfitError(f"{name} differs from call to call under one seed; draw from torch's generator alone")


@torch.no_grad()
def _unmixed(mechanism: Mechanism) -> None:
    if found := leak(mechanism):
        raise UnfitError(found)


@torch.no_grad()
def _alone(mechanism: Mechanism) -> None:
    if draws(mechanism):
        raise UntestedError("it draws, and alone an image has other draws")
    module = slot(mechanism).eval()
    for batch, part in ((4, 1), *((size, 3) for size in TESTED)):
        x, query = inputs(6, 5, batch=batch)
        together = run(module, x, query)
        for first in range(0, 4, part):
            few = slice(first, first + part)
            for name, value in run(module, x[few], query[few]).items():
                difference = float((value - together[name][few]).abs().max())
                if not difference <= 1e-4:
                    beside = "others are" if batch == 4 else f"{batch} images, as of a run, are"
                    raise UnfitError(f"{name} of an image differs by {difference:.2g} when {beside} in the batch")


@torch.no_grad()
def _one_by_one(mechanism: Mechanism) -> None:
    if draws(mechanism):
        raise UntestedError("it draws, and for several questions has other draws")
    module, of = slot(mechanism).eval(), torch.tensor([1, 0, 1])
    (x, _), (_, query) = inputs(6, 5, batch=2), inputs(6, 5, batch=3)
    call_mechanism = module.read if isinstance(module, Readout) else module
    together, alone = named(call_mechanism(given(module, x), query, of)), run(module, x[of], query)
    for name, value in together.items():
        if (difference := float((value - alone[name]).abs().max())) > 1e-4:
            raise UnfitError(
                f"{name} of several questions about an image differs by {difference:.2g} from one by one: "
                "answer(prepare(x), query) must be what forward(x, query) is"
            )


def _half(mechanism: Mechanism) -> None:
    module = slot(mechanism)
    with torch.autocast("cpu", torch.bfloat16):
        out = run(module, *inputs(6, 5))
    for name, value in out.items():
        if not value.isfinite().all():
            raise UnfitError(f"{name} is not finite under autocast to bfloat16")


def _keeps_tensors(mechanism: Mechanism) -> None:
    for name, value in made(mechanism).state_dict().items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise UnfitError(
                f"{name} in its state_dict is of type {kind}; records hold tensors alone: keep it as a buffer"
            )


def _resumes(mechanism: Mechanism) -> None:
    rehearse_resuming(mechanism.spelled)


def _takes_batches(mechanism: Mechanism) -> None:
    rehearse_batches(mechanism.spelled)


def _runs(mechanism: Mechanism, variant: VariantSpec) -> None:
    rehearse(mechanism.spelled, variant)


def _reloads(mechanism: Mechanism) -> None:
    model, other = (create_model(mechanism.spelled, variant="mini").eval() for _ in range(2))
    other.load_state_dict(model.state_dict())
    images, query = torch.rand(2, 3, 48, 48), torch.tensor([1, 2])
    logits = []
    for network in (model, other):
        torch.manual_seed(3)
        logits.append(network(images, query).logits)
    if not logits[0].isfinite().all():
        raise UnfitError("the answers of a network with it are not finite")
    if not torch.equal(*logits):
        raise UnfitError("a network with the same state_dict answers otherwise: something is kept outside of it")
    torch.manual_seed(4)
    with imported_anew(mechanism.spelled):
        other = create_model(mechanism.spelled, variant="mini").eval()
        other.load_state_dict(model.state_dict())
        torch.manual_seed(3)
        if not torch.equal(logits[0], other(images, query).logits):
            raise UnfitError(
                "a network with the same state_dict answers otherwise after the file is imported again: keep what the "
                "network needs in parameters or buffers, not in variables of the file or the class"
            )


ESSENTIALS: tuple[tuple[str, Callable[[Mechanism], None]], ...] = (("returns the shapes of a slot", _shapes),)
_RUNS = tuple(
    (
        f"trains, is tested and read back on {v.canvas} px, {v.queries} queries",
        partial(_runs, variant=v),
    )
    for v in distinct_variants()
)
QUESTIONS: tuple[tuple[str, Callable[[Mechanism], None]], ...] = (
    ("is finite, with maps in 0 … 1", _ranges),
    ("a gradient reaches every parameter and the features", _gradients),
    ("moves to another precision as a whole", _registered),
    ("gives the same under the same seed", _deterministic),
    ("treats an image alike, whatever the others in the batch are", _unmixed),
    ("treats an image alike, alone and in a batch", _alone),
    ("answers several questions about an image as one by one", _one_by_one),
    ("works in half precision", _half),
    ("keeps tensors alone in its state_dict", _keeps_tensors),
    ("is all in its state_dict", _reloads),
    ("goes on from a checkpoint as if nothing had happened", _resumes),
    ("takes batches as large as those of a run", _takes_batches),
    *_RUNS,
)
QUICK = tuple(
    each
    for each in QUESTIONS
    if each[1]
    in (_ranges, _deterministic, _unmixed, _alone, _one_by_one, _keeps_tensors, _reloads, _resumes, _takes_batches)
)
