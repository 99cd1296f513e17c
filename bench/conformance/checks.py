"""Checks whether a mechanism can be benchmarked: all checks of `bench check`, and the quick ones before a run."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bench.attention import get_mechanism
from bench.attention.base import Gate, PooledReadout
from bench.attention.mechanism import Mechanism
from bench.attention.network import ATTRIBUTE, NetworkSpec
from bench.attention.user_code import describe_error
from bench.config import DEFAULT_WIDTH
from bench.conformance.probe import (
    QUERIES,
    UnfitError,
    UntestedError,
    build_module,
    build_slot,
    describe_leak,
    is_random_in_evaluation,
    make_inputs,
    run_module,
)
from bench.conformance.rehearsal import rehearse
from bench.conformance.slot_checks import QUICK_CHECKS, checks_in, essential_checks
from bench.kernels.diagonal_lstm import VARIABLE
from bench.model import SlotNetwork, build
from bench.networks import get_network, resolve
from mnistref.common.errors import (
    ProblemError,
    RemoteTracebackError,
    RunProblemError,
    UsageProblemError,
    format_traceback,
)
from mnistref.spec import VariantSpec

SAME_MAP = "the query does not change the map"
"""A remark, also on mechanisms whose output depends on the query."""
UNTESTED = "not tested: "
"""How the description of a check begins that could not be done."""


@dataclass(frozen=True)
class Finding:
    """The result of a check, or a remark.

    Attributes:
        description: the check or the remark in words.
        ok: whether the check passed; None for a remark.
        reason: the reason of a failure, or advice; empty if there is none.
        traceback: the traceback of an error of the module, as text; empty if there is none.
    """

    description: str
    ok: bool | None
    reason: str = ""
    traceback: str = ""

    def as_dict(self) -> dict[str, str | bool | None]:
        """Return the entries what, ok and why, for JSON."""
        return {"what": self.description, "ok": self.ok, "why": self.reason}


def describe_verdict(findings: Sequence[Finding], with_names: bool = True) -> str:
    """Return in one line whether the module passed, and the number of checks.

    Args:
        findings: all findings.
        with_names: whether to append the checks that failed.
    """
    done = [finding for finding in findings if finding.ok is not None]
    failed = [finding.description for finding in done if not finding.ok]
    untested = sum(finding.description.startswith(UNTESTED) for finding in findings)
    more = f", {untested} not tested" * bool(untested)
    if not failed:
        return f"fit: {len(done)} of {len(done)} checks{more}"
    if len(done) <= 1 + len(essential_checks()) and not done[-1].ok:
        more = ", the others omitted"
    names = f": {'; '.join(failed)}" * with_names
    return f"not fit: {len(failed)} of {len(done)} checks failed{more}{names}"


def check_mechanism(attn: str, architecture: str = ATTRIBUTE) -> list[Finding]:
    """Return all findings about a mechanism. If an essential check fails, the later checks are omitted.

    Args:
        attn: name of one mechanism, or path/to/file.py:Class.
        architecture: the network in which it is trained and tested, see `bench.networks`.

    Raises:
        UsageProblemError: the mechanism or the network does not exist or cannot be built, or `attn` is a slot list.
    """
    get_network(architecture)  # raises if it does not exist
    if "," in attn:
        raise UsageProblemError(f"{attn}: slot lists are not checked; give one mechanism (a path cannot have a comma)")
    mechanism = get_mechanism(attn)
    if not mechanism.target:
        raise UsageProblemError(f"{attn}: it has no attention, so there is nothing to check")
    build_module(mechanism)
    with _use_one_cpu_thread():
        return list(_check_all(mechanism, architecture))


@contextmanager
def _use_one_cpu_thread() -> Iterator[None]:
    """Inside this context, compute on a CPU with one thread, which is faster for small tensors.

    The environment variable for the implementation of the diagonal LSTM is ignored, because it may be one for a GPU.
    """
    threads, implementation = torch.get_num_threads(), os.environ.pop(VARIABLE, None)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if implementation is not None:
            os.environ[VARIABLE] = implementation


def require_buildable(
    network: str | NetworkSpec, variant: VariantSpec, width: int | None = None, architecture: str = ATTRIBUTE
) -> None:
    """Run the quick checks on user modules, and build networks with non-default options, before a run.

    Args:
        network: a slot list, or a resolved network.
        variant: image size, queries and classes of the run.
        width: scales the channels; None for the default of the network. A NetworkSpec has its own.
        architecture: name of the network around the mechanisms. A NetworkSpec has its own.

    Raises:
        UsageProblemError: the network cannot be built, or does not work on such images.
        RunProblemError: a user module failed a check.
    """
    if isinstance(network, str):
        attn, names = network, [name.strip() for name in network.split(",")]
        mechanisms = [get_mechanism(name) for name in names]
    else:
        attn, names, mechanisms = network.name, network.name.split(","), list(network.named)
        width, architecture = network.width, network.architecture
    with torch.random.fork_rng(devices=[]), _use_one_cpu_thread():
        for name, mechanism in zip(names, mechanisms, strict=True):
            if not mechanism.shipped:
                _require_quick_checks(name, mechanism, variant.canvas)
        # the recorded names, because a relative path may be invalid after a check has changed the working directory
        full_name = ",".join(mechanism.full_name for mechanism in mechanisms)
        resolved = resolve(full_name, width, architecture, (variant.canvas, variant.canvas))
        if resolved.has_user_module:
            with _describe_errors(attn, variant):
                rehearse(resolved, variant)
    if not resolved.has_user_module:
        build_checked(resolved, variant)


def build_checked(network: NetworkSpec, variant: VariantSpec, seed: int = 0) -> SlotNetwork | None:
    """Build a network without user modules, and call a copy of it, if its options, width or architecture are not usual.

    Args:
        network: the network.
        variant: image size, queries and classes of the run.
        seed: seed of the weights. The random generators are restored.

    Returns:
        The network on the CPU with its initial weights, as `bench.model.build` returns it; None if all is usual.

    Raises:
        UsageProblemError: the network cannot be built, or does not work on such images.
    """
    is_usual = (network.width, network.architecture) == (DEFAULT_WIDTH, ATTRIBUTE)
    if is_usual and not any(mechanism.chosen for mechanism in network.named):
        return None
    with torch.random.fork_rng(devices=[]), _describe_errors(network.name, variant):
        model = build(network, variant, seed, torch.device("cpu"))
        with _use_one_cpu_thread():  # a copy, because a call in training mode changes the statistics of BatchNorm
            copy.deepcopy(model)(torch.zeros(2, 3, variant.canvas, variant.canvas), torch.zeros(2, dtype=torch.long))
    return model


def _require_quick_checks(name: str, mechanism: Mechanism, canvas: int) -> None:
    build_module(mechanism)
    for description, check_function in (*essential_checks(canvas), *QUICK_CHECKS):
        finding = _run_check(description, partial(check_function, mechanism))
        if finding.ok is False:
            raise RunProblemError(
                f"{name}: not fit to be benchmarked: failed check: {description}: {finding.reason}; see `bench check`"
            ) from (RemoteTracebackError(finding.traceback) if finding.traceback else None)


@contextmanager
def _describe_errors(attn: str, variant: VariantSpec) -> Iterator[None]:
    """Inside this context, replace the errors of a network by those of `require_buildable`."""
    try:
        yield
    except ProblemError:
        raise
    except UnfitError as error:
        raise RunProblemError(f"{attn}: a run on {variant.name} would fail: {error}; see `bench check`") from error
    except Exception as error:
        reason = f"does not work on images of {variant.canvas} px: {describe_error(error)}"
        raise UsageProblemError(f"{attn} {reason}") from error


def _check_all(mechanism: Mechanism, architecture: str) -> Iterator[Finding]:
    first = _run_check(f"can be built as Class({DEFAULT_WIDTH}, {QUERIES})", lambda: build_module(mechanism))
    yield first
    if not first.ok:
        return
    for description, check_function in essential_checks():
        finding = _run_check(description, partial(check_function, mechanism))
        yield finding
        if finding.ok is False:
            return
    for description, check_function in checks_in(architecture):
        yield _run_check(description, partial(check_function, mechanism))
    try:
        yield from _list_remarks(mechanism)
    except (Exception, SystemExit) as error:
        yield Finding(f"{UNTESTED}further remarks", None, f"it raises {describe_error(error)}", format_traceback(error))


def _run_check(description: str, check_function: Callable[[], object]) -> Finding:
    torch.manual_seed(0)
    try:
        check_function()
    except UnfitError as error:
        return Finding(description, False, str(error), format_traceback(error) if error.__cause__ else "")
    except UntestedError as error:
        return Finding(f"{UNTESTED}{description}", None, str(error))
    except ProblemError as error:
        return Finding(description, False, str(error), format_traceback(error))
    except (Exception, SystemExit) as error:  # a user module may raise any error
        return Finding(description, False, f"it raises {describe_error(error)}", format_traceback(error))
    return Finding(description, True)


def _list_remarks(mechanism: Mechanism) -> Iterator[Finding]:
    """Yield remarks on a module that passed the essential checks."""
    module = build_slot(mechanism).eval()
    x, query = make_inputs(6, 5)
    yield from _remark_on_query(mechanism, module, x, query)
    yield from _remark_on_sampling(mechanism)
    yield from _remark_on_training(mechanism)
    if isinstance(module, Gate) and _is_squashed(module.attend, x, query):
        advice = "the network applies a sigmoid, or a softmax in the last slot; return the values before it"
        yield Finding("all scores are in 0 … 1", None, advice)


def _remark_on_query(mechanism: Mechanism, module: nn.Module, x: Tensor, query: Tensor) -> Iterator[Finding]:
    outputs, other = run_module(module, x, query), run_module(module, x, query.roll(1, dims=1))
    depends_on_query = any((value - other[name]).abs().max() > 1e-7 for name, value in outputs.items())
    if not depends_on_query and mechanism.uses_query:
        advice = "set the class attribute uses_query = False, and the network appends it before the classifier"
        yield Finding("the query does not change the output", None, advice)
    if depends_on_query and not mechanism.uses_query:
        yield Finding("the query changes the output, but uses_query is False", None, "")
    yield from _remark_on_map(mechanism, module, x, query)


def _remark_on_map(mechanism: Mechanism, module: nn.Module, x: Tensor, query: Tensor) -> Iterator[Finding]:
    """Yield a remark if the map of a slot, as the network computes it, is the same for every query."""
    in_slot, in_last = _query_changes_map(module, x, query), None
    if isinstance(module, Gate):
        in_last = _query_changes_map(PooledReadout(module.attend).eval(), x, query)
    found = {changes for changes in (in_slot, in_last) if changes is not None}
    if found == {False}:
        declared = "it ignores the query, and the network appends it before the classifier"
        if mechanism.query_free:  # an option decides; the summary has the reason
            declared = f"{mechanism.summary}; the network appends the query before the classifier"
        advice = "" if mechanism.uses_query else declared
        yield Finding(SAME_MAP, None, advice or "every question about an image gets the same map")
    elif in_slot and in_last is False:
        reason = "it adds the same number to the score of every position, which the softmax cancels"
        yield Finding(f"in the last slot, {SAME_MAP}", None, reason)


def _query_changes_map(module: nn.Module, x: Tensor, query: Tensor) -> bool | None:
    """Return whether a map differs between two queries by more than rounding; None if the module has no map."""
    maps, others = (run_module(module, x, q) for q in (query, query.roll(1, dims=1)))
    names = [name for name in maps if name.startswith("map")]
    if not names:
        return None
    return any((maps[name] - others[name]).abs().max() > 1e-6 * maps[name].abs().max() for name in names)


def _remark_on_sampling(mechanism: Mechanism) -> Iterator[Finding]:
    is_random = is_random_in_evaluation(mechanism)
    if is_random:
        reason = "its results hold for the seed of the evaluation"
        advice = "set the class attribute sampled = True, and `bench show` draws samples; "
        yield Finding("it is random in evaluation", None, reason if mechanism.sampled else advice + reason)
    if mechanism.sampled and not is_random:
        yield Finding("sampled is True, but it is not random in evaluation", None, "omit it")


def _remark_on_training(mechanism: Mechanism) -> Iterator[Finding]:
    description = "in training, the output for an image depends on the other images in the batch"
    try:
        leak = describe_leak(mechanism, training=True)
        other_leak = describe_leak(mechanism, training=True, freeze_batch_norm=True) if leak else ""
    except UntestedError as error:
        yield Finding(f"{UNTESTED}{description}", None, str(error))
        return
    if other_leak:
        yield Finding(f"{description}, and not only through BatchNorm", None, other_leak)
    elif leak:
        yield Finding(description, None, "through BatchNorm, as usual")


@torch.no_grad()
def _is_squashed(attend: nn.Module, x: Tensor, query: Tensor) -> bool:
    """Return whether all scores are in 0 … 1 for several random changes of the parameters."""
    for _ in range(8):
        score = attend(x, query)
        if not isinstance(score, Tensor) or score.min() < 0 or score.max() > 1:
            return False
        for parameter in attend.parameters():
            parameter.add_(torch.randn_like(parameter))
    return True
