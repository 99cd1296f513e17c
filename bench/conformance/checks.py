"""Is a module fit to be benchmarked? Each question is asked of the module in a slot and answered in plain words."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bench.attention import get_mechanism
from bench.attention.base import Gate
from bench.attention.mechanism import Mechanism
from bench.config import DEFAULT_WIDTH
from bench.conformance.probe import QUERIES, UnfitError, UntestedError, draws, inputs, leak, made, run, slot
from bench.conformance.questions import ESSENTIALS, QUESTIONS, QUICK
from bench.conformance.rehearsal import rehearse
from bench.kernels.diagonal_lstm import VARIABLE
from bench.model import build
from mnistref.common.errors import ProblemError, RunProblemError, UsageProblemError
from mnistref.spec import VariantSpec


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
    with _small():
        return list(_findings(mechanism))


@contextmanager
def _small() -> Iterator[None]:
    """Compute on a CPU with one thread: the tensors are small, and threads would wait for each other.

    The variable that names an implementation of the diagonal LSTM is ignored: it may name one for the GPU of the run.
    """
    threads, name = torch.get_num_threads(), os.environ.pop(VARIABLE, None)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if name is not None:
            os.environ[VARIABLE] = name


def require_buildable(attn: str, variant: VariantSpec, width: int = DEFAULT_WIDTH) -> None:
    """Check user modules and chosen options before a run, in a moment; shipped mechanisms as they are pass.

    Args:
        attn: a slot list.
        variant: whose image size, queries and classes the run has.
        width: channels of each convolution.

    Raises:
        UsageProblemError: the network cannot be made, or takes no such images.
        RunProblemError: a module from outside is not fit: its numbers would mean nothing, or its run would fail.
    """
    canvas = variant.canvas
    names = [name.strip() for name in attn.split(",")]
    mechanisms = [get_mechanism(name) for name in names]
    with torch.random.fork_rng(devices=[]), _small():
        for name, mechanism in zip(names, mechanisms, strict=True):
            if mechanism.shipped:
                continue
            made(mechanism)
            for what, question in (*ESSENTIALS, *QUICK):
                finding = _ask(what, partial(question, mechanism))
                if finding.ok is False:
                    raise RunProblemError(
                        f"{name}: not fit to be benchmarked: NO {what}: {finding.why}; see `bench check`"
                    )
        # a path is not looked up again: the questions may have changed the working directory
        spelled = ",".join(mechanism.spelled for mechanism in mechanisms)
        if width == DEFAULT_WIDTH and all(mechanism.shipped and not mechanism.chosen for mechanism in mechanisms):
            return
        try:
            if all(mechanism.shipped for mechanism in mechanisms):
                build(spelled, variant, 0, torch.device("cpu"), width)(
                    torch.zeros(2, 3, canvas, canvas), torch.zeros(2, dtype=torch.long)
                )
            else:
                rehearse(spelled, variant, width)
        except ProblemError:
            raise
        except UnfitError as error:
            raise RunProblemError(f"{attn}: a run on {variant.name} would fail: {error}; see `bench check`") from error
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise UsageProblemError(f"{attn} does not work on images of {canvas} px: {why}") from error


def _findings(mechanism: Mechanism) -> Iterator[Finding]:
    first = _ask(f"is made as Class({DEFAULT_WIDTH}, {QUERIES})", lambda: made(mechanism))
    yield first
    if not first.ok:
        return
    for what, question in ESSENTIALS:
        finding = _ask(what, partial(question, mechanism))
        yield finding
        if not finding.ok:
            return
    for what, question in QUESTIONS:
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
