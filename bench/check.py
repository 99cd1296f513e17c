"""Is a module fit to be benchmarked? Each question is asked of the module in a slot and answered in plain words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.attention import get_mechanism
from bench.attention.base import Changed, Gate, Readout, Scored
from bench.config import WIDTH
from bench.mechanism import Mechanism
from bench.model import create_model
from bench.probe import QUERIES, UnfitError, UntestedError, draws, given, inputs, leak, made, run, slot
from mnistref.errors import ProblemError, RunProblemError, UsageProblemError

SIZES = ((25, 25), (7, 13), (1, 9), (1, 1))


@dataclass(frozen=True)
class Finding:
    """`ok` is None for a remark that fails nothing. `why` is empty where all is well."""

    what: str
    ok: bool | None
    why: str = ""


def check(attn: str) -> list[Finding]:
    """Every finding about a mechanism; those after one that leaves nothing to ask are not there.

    Raises:
        UsageProblemError: there is no such mechanism or file, it cannot be made, or several are named.
    """
    if "," in attn:
        raise UsageProblemError(f"{attn}: slot lists are not checked, one module is (and a path can hold no comma)")
    mechanism = get_mechanism(attn)
    if not mechanism.target:
        raise UsageProblemError(f"{attn}: no attention, nothing to check")
    made(mechanism)
    return list(_findings(mechanism))


def refuse_unfit(attn: str, canvas: int, width: int = WIDTH) -> None:
    """Ask, before a run, of what is not in the registry as it stands, what can be asked in a moment.

    Args:
        attn: a slot list.
        canvas: the images' side in pixels.
        width: of the network, the channels of each convolution.

    Raises:
        UsageProblemError: the network cannot be made, or takes no such images.
        RunProblemError: a module from outside is not fit: its numbers would mean nothing.
    """
    names = [name.strip() for name in attn.split(",")]
    mechanisms = [get_mechanism(name) for name in names]
    with torch.random.fork_rng(devices=[]):
        for name, mechanism in zip(names, mechanisms, strict=True):
            if mechanism.shipped:
                continue
            made(mechanism)
            for what, question in (*_ESSENTIALS, *_QUICK):
                finding = _ask(what, partial(question, mechanism))
                if finding.ok is False:
                    raise RunProblemError(
                        f"{name}: not fit to be benchmarked: NO {what}: {finding.why}; see `bench check`"
                    )
        if width == WIDTH and all(mechanism.shipped and not mechanism.chosen for mechanism in mechanisms):
            return
        model = create_model(attn, size=(canvas, canvas), width=width).eval()
        try:
            with torch.inference_mode():
                model(torch.zeros(2, 3, canvas, canvas), torch.zeros(2, dtype=torch.long))
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise UsageProblemError(f"{attn} does not work on images of {canvas} px: {why}") from error


def _findings(mechanism: Mechanism) -> Iterator[Finding]:
    first = _ask(f"is made as Class({WIDTH}, {QUERIES})", lambda: made(mechanism))
    yield first
    if not first.ok:
        return
    for what, question in _ESSENTIALS:
        finding = _ask(what, partial(question, mechanism))
        yield finding
        if not finding.ok:
            return
    for what, question in _QUESTIONS:
        yield _ask(what, partial(question, mechanism))
    try:
        yield from _remarks(mechanism)
    except (Exception, SystemExit) as error:
        yield Finding("not tested: what else may be remarked", None, f"it raises {type(error).__name__}")


def _ask(what: str, question: Callable[[], object]) -> Finding:
    torch.manual_seed(0)
    try:
        question()
    except UnfitError as no:
        return Finding(what, False, str(no))
    except UntestedError as unknown:
        return Finding(f"not tested: {what}", None, str(unknown))
    except ProblemError as error:
        return Finding(what, False, str(error))
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        return Finding(what, False, f"it raises {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return Finding(what, True)


def _shapes(mechanism: Mechanism) -> None:
    module = made(mechanism).eval()
    for batch, (height, width) in ((1, SIZES[0]), *((2, size) for size in SIZES)):
        x, query = inputs(height, width, batch)
        out = module(given(module, x), query)
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
    for name, parameter in [*module.named_parameters(), ("the features", x)]:
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
    x, query = inputs(6, 5, batch=4)
    together = run(module, x, query)
    for k in range(4):
        for name, value in run(module, x[k : k + 1], query[k : k + 1]).items():
            difference = float((value - together[name][k : k + 1]).abs().max())
            if difference > 1e-4:
                raise UnfitError(f"{name} of an image differs by {difference:.2g} when others are in the batch")


def _half(mechanism: Mechanism) -> None:
    module = slot(mechanism)
    with torch.autocast("cpu", torch.bfloat16):
        out = run(module, *inputs(6, 5))
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


def _remarks(mechanism: Mechanism) -> Iterator[Finding]:
    module = slot(mechanism).eval()
    x, query = inputs(6, 5)
    first, other = run(module, x, query), run(module, x, query.roll(1, dims=1))
    sees = any((value - other[name]).abs().max() > 1e-7 for name, value in first.items())
    if not sees and mechanism.uses_query:
        why = "set the class attribute uses_query = False, and the network appends it before the classifier"
        yield Finding("the query changes nothing", None, why)
    if sees and not mechanism.uses_query:
        yield Finding("the query changes the output, but uses_query is False", None, "")
    drawing = draws(mechanism)
    if drawing:
        why = "its numbers hold for the seed of the evaluation"
        unsaid = "" if mechanism.sampled else "set the class attribute sampled = True, and `bench show` draws samples; "
        yield Finding("it draws anew in evaluation", None, unsaid + why)
    if mechanism.sampled and not drawing:
        yield Finding("sampled is True, but it draws nothing in evaluation", None, "leave it out")
    yield from _remarks_on_training(mechanism)
    if isinstance(module, Gate) and _is_squashed(module.attend, x, query):
        why = "the network applies a sigmoid, or a softmax in the last slot; return the numbers before it"
        yield Finding("the score lies in 0 … 1", None, why)


def _remarks_on_training(mechanism: Mechanism) -> Iterator[Finding]:
    try:
        found = leak(mechanism, training=True)
        beside = found and leak(mechanism, training=True, still=True)
    except UntestedError as unknown:
        yield Finding("not tested: whether in training an image sees the others in its batch", None, str(unknown))
        return
    if beside:
        yield Finding("in training an image sees the others in its batch, and not by BatchNorm alone", None, beside)
    elif found:
        yield Finding("in training an image sees the others in its batch", None, "by BatchNorm, as is usual")


@torch.no_grad()
def _is_squashed(attend: nn.Module, x: Tensor, query: Tensor) -> bool:
    """Whether a score stays in 0 … 1 wherever the parameters go."""
    for _ in range(8):
        score = attend(x, query)
        if not isinstance(score, Tensor) or score.min() < 0 or score.max() > 1:
            return False
        for parameter in attend.parameters():
            parameter.add_(torch.randn_like(parameter))
    return True


_ESSENTIALS: tuple[tuple[str, Callable[[Mechanism], None]], ...] = (("returns the shapes of a slot", _shapes),)
_QUESTIONS: tuple[tuple[str, Callable[[Mechanism], None]], ...] = (
    ("is finite, with maps in 0 … 1", _ranges),
    ("a gradient reaches every parameter and the features", _gradients),
    ("moves to another precision as a whole", _registered),
    ("gives the same under the same seed", _deterministic),
    ("treats an image alike, whatever the others in the batch are", _unmixed),
    ("treats an image alike, alone and in a batch", _alone),
    ("works in half precision", _half),
    ("takes a training step in the network", _trains),
    ("is all in its state_dict", _reloads),
)
_QUICK = tuple(each for each in _QUESTIONS if each[1] in (_ranges, _deterministic, _unmixed, _alone, _trains))
