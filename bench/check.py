"""Is a module fit to be benchmarked? Each question is asked of the module in a slot and answered in plain words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.attention import get_mechanism
from bench.attention.base import Changed, Gate, Readout, Scored
from bench.mechanism import Mechanism
from bench.model import WIDTH, create_model
from mnistref.errors import ProblemError, UsageProblemError

QUERIES = 10
SIZES = ((25, 25), (7, 13), (1, 9), (1, 1))


@dataclass(frozen=True)
class Finding:
    """`ok` is None for a remark that fails nothing. `why` is empty where all is well."""

    what: str
    ok: bool | None
    why: str = ""


class UnfitError(Exception):
    """An answer that is no."""


def check(attn: str) -> list[Finding]:
    """Every finding about a mechanism; those after one that leaves nothing to ask are not there.

    Raises:
        UsageProblemError: there is no such mechanism or file.
    """
    mechanism = get_mechanism(attn)
    if not mechanism.target:
        raise UsageProblemError(f"{attn}: no attention, nothing to check")
    return list(_findings(mechanism))


def _findings(mechanism: Mechanism) -> Iterator[Finding]:
    first = _ask(f"is made as Class({WIDTH}, {QUERIES})", lambda: _made(mechanism))
    yield first
    if not first.ok:
        return
    for what, question in _ESSENTIALS:
        finding = _ask(what, lambda question=question: question(mechanism))  # type: ignore[misc]
        yield finding
        if not finding.ok:
            return
    for what, question in _QUESTIONS:
        yield _ask(what, lambda question=question: question(mechanism))  # type: ignore[misc]
    yield from _remarks(mechanism)


def _ask(what: str, question: Callable[[], object]) -> Finding:
    torch.manual_seed(0)
    try:
        question()
    except UnfitError as no:
        return Finding(what, False, str(no))
    except ProblemError as error:
        return Finding(what, False, str(error))
    except Exception as error:  # whatever a user's module raises
        return Finding(what, False, f"it raises {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return Finding(what, True)


def _made(mechanism: Mechanism) -> nn.Module:
    """The bare module, with a query."""
    return mechanism.make(WIDTH, QUERIES, last=mechanism.last_only)


def _slot(mechanism: Mechanism) -> nn.Module:
    """The module as the network uses it, its parameters moved from where they start (zeros would hide gradients)."""
    torch.manual_seed(1)
    module = _made(mechanism)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module if isinstance(module, Readout) else Gate(module, WIDTH)


def _inputs(height: int, width: int, batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, WIDTH, height, width, generator=generator).relu()
    return x, torch.eye(QUERIES)[torch.arange(batch) % QUERIES]


def _given(module: nn.Module, x: Tensor) -> Any:
    """What a module is called with: features, or those of every slot for a readout."""
    inner = getattr(module, "attend", module)
    return [x.repeat(1, 1, 2**k, 2**k) for k in (3, 2, 1, 0)] if isinstance(inner, Readout) else x


def _run(module: nn.Module, x: Tensor, query: Tensor) -> dict[str, Tensor]:
    """Everything that comes out, by name, drawn under one seed."""
    torch.manual_seed(3)
    out = module(_given(module, x), query)
    found = {"features": out.features} if isinstance(out, Changed) else {"vectors": out.vectors}
    masks = [out.mask] if isinstance(out, Changed) else out.masks
    return found | {f"map {k}": mask for k, mask in enumerate(masks) if mask is not None}


def _shapes(mechanism: Mechanism) -> None:
    module = _made(mechanism).eval()
    for batch, (height, width) in ((1, SIZES[0]), *((2, size) for size in SIZES)):
        x, query = _inputs(height, width, batch)
        out = module(_given(module, x), query)
        at = f"for features {tuple(x.shape)}"
        if isinstance(module, Readout):
            _want(out.vectors.shape[::2], (batch, WIDTH * module.levels), f"vectors {at} (first and last size)")
            continue
        features, one = (out.features, out[1]) if isinstance(out, Scored | Changed) else (x, out)
        if not isinstance(features, Tensor) or not isinstance(one, Tensor | None):
            raise UnfitError(f"returns {type(out).__name__} {at}; wanted a score map, Scored or Changed")
        _want(features.shape, x.shape, f"features {at}")
        if one is not None:
            _want(one.shape, (batch, 1, height, width), f"a map {at}, one number a position")


def _want(shape: Any, wanted: Any, what: str) -> None:
    if tuple(shape) != tuple(wanted):
        raise UnfitError(f"returns {tuple(shape)}, wanted {tuple(wanted)}: {what}")


def _ranges(mechanism: Mechanism) -> None:
    module = _slot(mechanism).eval()
    for size in SIZES:
        for name, value in _run(module, *_inputs(*size)).items():
            if not value.isfinite().all():
                raise UnfitError(f"{name} is not finite for a map of {size[0]} × {size[1]}")
            if name.startswith("map") and (value.min() < 0 or value.max() > 1 + 1e-5):
                raise UnfitError(f"{name} reaches from {value.min():.3g} to {value.max():.3g}; wanted 0 … 1")
            if name.startswith("map") and isinstance(module, Readout):
                sums = value.sum(dim=(1, 2, 3))
                if (sums - 1).abs().max() > 1e-3:
                    raise UnfitError(f"{name} sums to {float(sums[0]):.3g}; in the last slot a map sums to 1")


def _gradients(mechanism: Mechanism) -> None:
    module = _slot(mechanism)
    x, query = _inputs(7, 9)
    x.requires_grad_()
    out = _run(module, x, query)
    generator = torch.Generator().manual_seed(4)
    weighted = [(value * torch.randn(value.shape, generator=generator)).sum() for value in out.values()]
    torch.stack(weighted).sum().backward()
    for name, parameter in [*module.named_parameters(), ("the features", x)]:
        name = name.removeprefix("attend.")
        if parameter.grad is None or parameter.grad.abs().max() == 0:
            raise UnfitError(f"no gradient reaches {name}: is it used, and is the graph not cut (detach, argmax)?")
        if not parameter.grad.isfinite().all():
            raise UnfitError(f"the gradient of {name} is not finite")


def _registered(mechanism: Mechanism) -> None:
    module = _slot(mechanism).double().eval()
    x, query = _inputs(5, 6)
    try:
        _run(module, x.double(), query.double())
    except RuntimeError as error:
        why = " ".join(str(error).split())[:200]
        raise UnfitError(f"fails in double precision ({why}): a tensor is neither parameter nor buffer?") from error


def _deterministic(mechanism: Mechanism) -> None:
    module = _slot(mechanism).eval()
    x, query = _inputs(6, 5)
    first, again = _run(module, x, query), _run(module, x, query)
    for name, value in first.items():
        if not torch.equal(value, again[name]):
            raise UnfitError(f"{name} differs from call to call under one seed; draw from torch's generator alone")


@torch.no_grad()
def _unmixed(mechanism: Mechanism) -> None:
    if _draws(mechanism):
        return  # every image has its own draw
    module = _slot(mechanism).eval()
    x, query = _inputs(6, 5, batch=4)
    together = _run(module, x, query)
    for k in range(4):
        for name, value in _run(module, x[k : k + 1], query[k : k + 1]).items():
            difference = float((value - together[name][k : k + 1]).abs().max())
            if difference > 1e-4:
                raise UnfitError(f"{name} of an image differs by {difference:.2g} when others are in the batch")


def _half(mechanism: Mechanism) -> None:
    module = _slot(mechanism)
    with torch.autocast("cpu", torch.bfloat16):
        out = _run(module, *_inputs(6, 5))
    for name, value in out.items():
        if not value.isfinite().all():
            raise UnfitError(f"{name} is not finite under autocast to bfloat16")


def _trains(mechanism: Mechanism) -> None:
    model = create_model(mechanism.spelled, variant="mini")
    out = model(torch.rand(4, 3, 48, 48), torch.tensor([1, 2, 3, 4]))
    loss = nn.functional.cross_entropy(out.logits, torch.tensor([0, 1, 2, 3]))
    loss.backward()
    torch.optim.Adam(model.parameters()).step()
    if not all(p.isfinite().all() for p in model.parameters()):
        raise UnfitError("after one step a weight is no longer finite")


def _reloads(mechanism: Mechanism) -> None:
    model, other = (create_model(mechanism.spelled, variant="mini").eval() for _ in range(2))
    other.load_state_dict(model.state_dict())
    images, query = torch.rand(2, 3, 48, 48), torch.tensor([1, 2])
    logits = []
    for network in (model, other):
        torch.manual_seed(3)
        logits.append(network(images, query).logits)
    if not torch.equal(*logits):
        raise UnfitError("a network with the same state_dict answers otherwise: something is kept outside of it")


def _draws(mechanism: Mechanism) -> bool:
    """Whether it is random in evaluation."""
    module = _slot(mechanism).eval()
    x, query = _inputs(6, 5)
    first = _run(module, x, query)
    torch.manual_seed(99)
    out = module(_given(module, x), query)
    return not torch.equal(out[0], next(iter(first.values())))


def _remarks(mechanism: Mechanism) -> Iterator[Finding]:
    module = _slot(mechanism).eval()
    x, query = _inputs(6, 5)
    try:
        first, other = _run(module, x, query), _run(module, x, query.roll(1, dims=1))
    except Exception:  # said above
        return
    sees = any((value - other[name]).abs().max() > 1e-7 for name, value in first.items())
    if not sees and mechanism.uses_query:
        why = "set the class attribute uses_query = False, and the network appends it before the classifier"
        yield Finding("the query changes nothing", None, why)
    if sees and not mechanism.uses_query:
        yield Finding("the query changes the output, but uses_query is False", None, "")
    if _draws(mechanism):
        yield Finding("it draws anew in evaluation", None, "its numbers hold for the seed of the evaluation")
    if isinstance(module, Gate):
        score = module.attend(x, query)
        if isinstance(score, Tensor) and score.min() >= 0 and score.max() <= 1:
            why = "the network applies a sigmoid, or a softmax in the last slot; return the numbers before it"
            yield Finding("the score lies in 0 … 1", None, why)


_ESSENTIALS: tuple[tuple[str, Callable[[Mechanism], None]], ...] = (("returns the shapes of a slot", _shapes),)
_QUESTIONS: tuple[tuple[str, Callable[[Mechanism], None]], ...] = (
    ("is finite, with maps in 0 … 1", _ranges),
    ("a gradient reaches every parameter and the features", _gradients),
    ("moves to another precision as a whole", _registered),
    ("gives the same under the same seed", _deterministic),
    ("treats an image alike, whatever else is in the batch", _unmixed),
    ("works in half precision", _half),
    ("takes a training step in the network", _trains),
    ("is all in its state_dict", _reloads),
)
