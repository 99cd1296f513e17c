"""The checks of `bench check`: functions that raise `UnfitError` if a module fails a check.

They raise `UntestedError` if the check cannot be done.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from bench.attention.base import Gate, Readout
from bench.attention.mechanism import Mechanism
from bench.attention.network import ATTRIBUTE, NetworkSpec
from bench.attention.plugins import imported_anew
from bench.attention.user_code import describe_error, locate_function
from bench.conformance.probe import (
    ModuleOutput,
    UnfitError,
    UntestedError,
    adapt_features,
    build_module,
    build_slot,
    describe_leak,
    is_random_in_evaluation,
    make_inputs,
    name_outputs,
    run_module,
)
from bench.conformance.rehearsal import (
    SMALL_VARIANTS,
    TEST_BATCH_SIZES,
    distinct_variants,
    rehearse,
    rehearse_batches,
    rehearse_resuming,
)
from bench.conformance.shape_checks import SIZES, require_shapes
from bench.model import create_model
from bench.networks import get_network, resolve
from mnistref.spec import VariantSpec

NARROWER = 8
"""By which factor networks other than the default are narrower in checks."""
_OTHER_DEVICE = re.compile("on the expected device meta|tensors to be on the same device", re.IGNORECASE)
"""What PyTorch says of a tensor on another device than the module."""

Check: TypeAlias = Callable[[Mechanism], None]


def _require_ranges(mechanism: Mechanism) -> None:
    module = build_slot(mechanism)
    for size in SIZES:
        for training in (False, True):
            _require_finite(module.train(training), *make_inputs(*size))
        for name, value in run_module(module.eval(), *make_inputs(*size)).items():
            if name.startswith("map") and (value.min() < 0 or value.max() > 1 + 1e-5):
                raise UnfitError(f"{name} has values from {value.min():.3g} to {value.max():.3g}; expected 0 … 1")
            if name.startswith("map") and isinstance(module, Readout):
                sums = value.sum(dim=(1, 2, 3))
                if (sums - 1).abs().max() > 1e-3:
                    raise UnfitError(f"{name} sums to {float(sums[0]):.3g}; a map of the last slot must sum to 1")


@torch.no_grad()
def _require_finite(module: nn.Module, x: Tensor, query: Tensor) -> None:
    """Raise UnfitError unless the outputs of a module in a slot are finite. The message names the module's own output.

    A score may be −∞ at some positions, where its attention is zero.
    """
    inner = module.attend if isinstance(module, Gate) else module
    own, of_slot = (run_module(each, x, query) for each in (inner, module))
    for name, value in (own | of_slot).items():
        used = value.flatten(1).softmax(1) if name == "the score" else value
        if used.isfinite().all():
            continue
        count, where = int((~value.isfinite()).sum()), locate_function(inner.forward)
        kind = "NaN" if value.isnan().any() else "infinite"
        raise UnfitError(
            f"{name} that forward returns is not finite: {kind} in {count:,} of {value.numel():,} values "
            f"for features {tuple(x.shape)}{' in training' * module.training}"
            f"{f'; forward is in {where}' * bool(where)}"
        )


def _require_gradients(mechanism: Mechanism) -> None:
    module = build_slot(mechanism)
    x, query = make_inputs(7, 9)
    x.requires_grad_()
    out = run_module(module, x, query)
    generator = torch.Generator().manual_seed(4)
    weighted = [(value * torch.randn(value.shape, generator=generator)).sum() for value in out.values()]
    torch.stack(weighted).sum().backward()
    trainable = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    for name, parameter in [*trainable, ("the features", x)]:
        name = name.removeprefix("attend.")
        if parameter.grad is None or parameter.grad.abs().max() == 0:
            raise UnfitError(f"no gradient reaches {name}; use it, and do not cut the graph by detach or argmax")
        if not parameter.grad.isfinite().all():
            raise UnfitError(f"the gradient of {name} is not finite")


def _require_precision(mechanism: Mechanism) -> None:
    module = build_slot(mechanism).double().eval()
    x, query = make_inputs(5, 6)
    advice = "is there a tensor that is neither parameter nor buffer, nor made with dtype=x.dtype, device=x.device?"
    try:
        run_module(module, x.double(), query.double())
    except RuntimeError as error:
        raise UnfitError(f"fails in double precision ({describe_error(error)}); {advice}") from error
    try:
        run_module(build_slot(mechanism).to("meta").eval(), x.to("meta"), query.to("meta"))
    except Exception as error:  # a function may have no form for tensors without values, which says nothing
        if _OTHER_DEVICE.search(str(error)):
            raise UnfitError(f"fails on another device than the CPU ({describe_error(error)}); {advice}") from error


def _require_determinism(mechanism: Mechanism) -> None:
    module = build_slot(mechanism).eval()
    x, query = make_inputs(6, 5)
    first = run_module(module, x, query)
    for name, given, kept in zip(("features", "query"), (x, query), make_inputs(6, 5), strict=True):
        if not torch.equal(given, kept):
            raise UnfitError(
                f"changes its input in place, the {name}; work on a copy, such as x * 2 instead of x.mul_(2)"
            )
    again = run_module(module, x, query)
    for name, value in first.items():
        if not torch.equal(value, again[name]):
            raise UnfitError(
                f"{name} differs between two calls with the same seed; draw random numbers from torch's generator only"
            )


@torch.no_grad()
def _require_independence(mechanism: Mechanism) -> None:
    if leak := describe_leak(mechanism):
        raise UnfitError(leak)


@torch.no_grad()
def _require_alone_and_in_batch(mechanism: Mechanism) -> None:
    if is_random_in_evaluation(mechanism):
        raise UntestedError("it is random, and an image alone has other random draws")
    module = build_slot(mechanism).eval()
    for batch, part in ((4, 1), *((size, 3) for size in TEST_BATCH_SIZES)):
        x, query = make_inputs(6, 5, batch=batch)
        expected = run_module(module, x, query)
        for first in range(0, 4, part):
            few = slice(first, first + part)
            for name, value in run_module(module, x[few], query[few]).items():
                difference = float((value - expected[name][few]).abs().max())
                if not difference <= 1e-4:
                    raise UnfitError(
                        f"{name} of an image differs by {difference:.2g} between batches of {part} and {batch} images"
                    )


@torch.no_grad()
def _require_several_questions(mechanism: Mechanism) -> None:
    if is_random_in_evaluation(mechanism):
        raise UntestedError("it is random, and several questions have other random draws")
    module, image_index = build_slot(mechanism).eval(), torch.tensor([1, 0, 1])
    (x, _), (_, query) = make_inputs(6, 5, batch=2), make_inputs(6, 5, batch=3)
    call_mechanism: Callable[..., ModuleOutput] = module.read if isinstance(module, Readout) else module
    together = name_outputs(call_mechanism(adapt_features(module, x), query, image_index))
    one_by_one = run_module(module, x[image_index], query)
    for name, value in together.items():
        if (difference := float((value - one_by_one[name]).abs().max())) > 1e-4:
            raise UnfitError(
                f"{name} differs by {difference:.2g} if an image gets several questions at once instead of one by one; "
                "answer(prepare(x), query) must equal forward(x, query)"
            )


def _require_autocast(mechanism: Mechanism) -> None:
    module = build_slot(mechanism)
    with torch.autocast("cpu", torch.bfloat16):
        out = run_module(module, *make_inputs(6, 5))
    for name, value in out.items():
        if not value.isfinite().all():
            raise UnfitError(f"{name} is not finite under autocast to bfloat16")


def _require_state_types(mechanism: Mechanism) -> None:
    for name, value in build_module(mechanism).state_dict().items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise UnfitError(
                f"{name} in its state_dict is of type {kind}; only tensors can be saved; store it as a buffer"
            )


def _fill(mechanism: Mechanism, architecture: str) -> NetworkSpec:
    """Return a network with the mechanism in its slots. Networks other than the default are narrow."""
    entry = get_network(architecture)
    width = entry.width if architecture == ATTRIBUTE else max(1, entry.width // NARROWER)
    return resolve(mechanism.full_name, width, architecture)


def _require_exact_resuming(mechanism: Mechanism, architecture: str = ATTRIBUTE) -> None:
    rehearse_resuming(_fill(mechanism, architecture))


def _require_batch_sizes_work(mechanism: Mechanism, architecture: str = ATTRIBUTE) -> None:
    rehearse_batches(_fill(mechanism, architecture))


def _require_run_works(mechanism: Mechanism, variant: VariantSpec, architecture: str = ATTRIBUTE) -> None:
    rehearse(_fill(mechanism, architecture), variant)


def _require_complete_state(mechanism: Mechanism, architecture: str = ATTRIBUTE) -> None:
    """Raise UnfitError unless networks with one state_dict give one output, also after a new import of the file."""
    model, other = (create_model(_fill(mechanism, architecture), variant="mini").eval() for _ in range(2))
    other.load_state_dict(model.state_dict())
    images, query = torch.rand(2, 3, 48, 48), torch.tensor([1, 2])
    logits = []
    for network in (model, other):
        torch.manual_seed(3)
        logits.append(network(images, query).logits)
    if not logits[0].isfinite().all():
        raise UnfitError("the logits of a network with it are not finite")
    if not torch.equal(*logits):
        raise UnfitError("two networks with the same state_dict differ; a part of the state is outside of it")
    torch.manual_seed(4)
    with imported_anew(mechanism.full_name):
        other = create_model(_fill(mechanism, architecture), variant="mini").eval()
        other.load_state_dict(model.state_dict())
        torch.manual_seed(3)
        if not torch.equal(logits[0], other(images, query).logits):
            raise UnfitError(
                "two networks with the same state_dict differ after the file is imported again; store the state of the "
                "network in parameters or buffers, not in variables of the file or the class"
            )


_QUICK_MODULE_CHECKS: tuple[tuple[str, Check], ...] = (
    ("gives the same output with the same seed", _require_determinism),
    ("gives an output that does not depend on the other images in the batch", _require_independence),
    ("gives the same output for an image alone and in a batch", _require_alone_and_in_batch),
    ("gives the same output for several questions about an image together and one by one", _require_several_questions),
)
QUICK_CHECKS: tuple[tuple[str, Check], ...] = (
    *_QUICK_MODULE_CHECKS,
    ("has only tensors in its state_dict", _require_state_types),
    ("has its whole state in its state_dict", _require_complete_state),
    ("resumes from a checkpoint without a difference", _require_exact_resuming),
    ("works with the batch sizes of a run", _require_batch_sizes_work),
)
"""Checks that are done before each run, with their descriptions."""


def essential_checks(canvas: int | None = None) -> tuple[tuple[str, Check], ...]:
    """Return the checks without which the result of no other check is meaningful, with their descriptions.

    Args:
        canvas: side of the images; None for the images of all variants.
    """
    return (
        ("returns the shapes of a slot", partial(require_shapes, canvas=canvas)),
        ("returns finite values, and maps in 0 … 1", _require_ranges),
    )


def checks_in(architecture: str) -> tuple[tuple[str, Check], ...]:
    """Return the checks of `bench check` other than `essential_checks`, with their descriptions.

    Args:
        architecture: the network of the checks that train a network. Networks other than the default are narrow, and
            see images of one size, with and without questions.
    """
    variants = distinct_variants() if architecture == ATTRIBUTE else SMALL_VARIANTS
    return (
        ("has a gradient for every parameter and the features", _require_gradients),
        ("can be converted to another precision and device", _require_precision),
        *_QUICK_MODULE_CHECKS,
        ("works under autocast to bfloat16", _require_autocast),
        ("has only tensors in its state_dict", _require_state_types),
        ("has its whole state in its state_dict", partial(_require_complete_state, architecture=architecture)),
        ("resumes from a checkpoint without a difference", partial(_require_exact_resuming, architecture=architecture)),
        ("works with the batch sizes of a run", partial(_require_batch_sizes_work, architecture=architecture)),
        *(
            (
                f"can be trained, tested and loaded on {variant.canvas} px, {variant.queries or 'no'} queries",
                partial(_require_run_works, variant=variant, architecture=architecture),
            )
            for variant in variants
        ),
    )
