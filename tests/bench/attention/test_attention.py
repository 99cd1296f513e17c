"""Every mechanism of the registry as a gate and as a readout: shapes, gradients, batches, compilation."""

import os
import re
import shutil

import pytest
import torch
from torch import Tensor, nn

from bench.attention import MECHANISMS
from bench.attention.base import Changed, Gate, PooledReadout, Reading, Readout
from tests.bench.attention import helpers
from tests.bench.attention.helpers import CHANNELS, QUERIES, WITH_CLASS
from tests.helpers import long_form

FORMS = [
    (name, last) for name, m in MECHANISMS.items() if m.target for last in (False, True) if last or not m.last_only
]
IDS = [f"{name}-{'last' if last else 'gate'}" for name, last in FORMS]
SIZES = [(1, 9), (9, 1), (1, 1), (7, 13), (6, 6)]
every_form = pytest.mark.parametrize(("name", "last"), FORMS, ids=IDS)


def slot(name: str, last: bool, query_dim: int = QUERIES) -> nn.Module:
    """Return a mechanism as the network uses it, in float64, with all initial parameters changed."""
    torch.manual_seed(0)
    module = MECHANISMS[name].build_module(CHANNELS, query_dim, last)
    if not last:
        module = Gate(module, CHANNELS)
    elif not isinstance(module, Readout):
        module = PooledReadout(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return module.double()


def inputs(height: int, width: int, batch: int = 3) -> tuple[Tensor, Tensor]:
    return helpers.inputs(height, width, batch, CHANNELS)


def pyramid(x: Tensor) -> list[Tensor]:
    """Return the features of three slots; those of the last slot are x."""
    return [*(torch.nn.functional.interpolate(x, scale_factor=2.0**k) for k in (2, 1)), x]


def run(module: nn.Module, x: Tensor, query: Tensor | None, seed: int = 5) -> Changed | Reading:
    """Return the output of a slot. The seed fixes what a sampled mechanism draws."""
    torch.manual_seed(seed)
    return module(pyramid(x) if isinstance(module, Readout) else x, query)


def attend(module: nn.Module, x: Tensor, query: Tensor | None, seed: int = 5) -> tuple[Tensor, list[Tensor]]:
    """Return the features or vectors of a slot, and its maps."""
    out = run(module, x, query, seed)
    if isinstance(out, Reading):
        return out.vectors, out.masks
    return out.features, [] if out.mask is None else [out.mask]


def loss_of(out: Changed | Reading) -> Tensor:
    """Return a random linear function of all outputs of a slot."""
    parts = [out.features] if isinstance(out, Changed) else [out.vectors, out.log_weights]
    generator = torch.Generator().manual_seed(2)
    weighted = [
        (part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum()
        for part in parts
        if part is not None
    ]
    return torch.stack(weighted).sum()


@every_form
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_and_maps_have_documented_shapes_and_ranges(name, last, height, width, batch):
    module = slot(name, last).eval()
    out, masks = attend(module, *inputs(height, width, batch))
    assert out.isfinite().all()
    if not last:
        assert out.shape == (batch, CHANNELS, height, width)
        assert [m.shape for m in masks] == [(batch, 1, height, width)] * len(masks)
    else:
        assert out.shape[0] == batch
        assert out.shape[2] == CHANNELS * module.levels == CHANNELS * MECHANISMS[name].levels
        sizes = [(height * 2**k, width * 2**k) for k in range(len(masks) - 1, -1, -1)]
        assert [m.shape for m in masks] == [(batch, 1, *size) for size in sizes]
        for mask in masks:
            torch.testing.assert_close(mask.sum(dim=(1, 2, 3)), torch.ones(batch, dtype=torch.float64))
    for mask in masks:
        assert (mask >= 0).all()
        assert (mask <= 1 + 1e-12).all()


@every_form
def test_a_finite_gradient_reaches_every_parameter_and_the_features(name, last):
    module = slot(name, last)
    x, query = inputs(5, 6)
    x.requires_grad_()
    loss_of(run(module, x, query)).backward()
    for parameter_name, parameter in [*module.named_parameters(), ("x", x)]:
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        # A constant added to every score does not change the softmax of the last slot.
        shift = last and parameter_name.endswith("bias") and parameter.numel() == 1
        assert shift or parameter.grad.abs().max() > 1e-9, parameter_name


@every_form
def test_gradients_agree_with_finite_differences(name, last):
    """Compare gradients of features and parameters with finite differences along random directions."""
    module = slot(name, last).eval()
    x, query = inputs(3, 4, batch=2)
    names, values = zip(*module.named_parameters(), strict=True)

    def function(x: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(5)
        moved = dict(zip(names, values, strict=True))
        if last:
            out = torch.func.functional_call(module, moved, (pyramid(x), query))
            return out.vectors, *out.masks
        out = torch.func.functional_call(module, moved, (x, query))
        return (out.features,) if out.mask is None else (out.features, out.mask)

    leaves = [value.detach().requires_grad_() for value in (x, *values)]
    assert torch.autograd.gradcheck(function, leaves, fast_mode=True)


@every_form
def test_output_for_an_image_does_not_depend_on_the_batch(name, last, request):
    module = slot(name, last).eval()
    x, query = inputs(6, 5, batch=4)
    request.getfixturevalue("one_draw")
    together, maps = attend(module, x, query)
    for k in range(4):
        alone, own = attend(module, x[k : k + 1], query[k : k + 1])
        torch.testing.assert_close(alone, together[k : k + 1])
        for mask, all_masks in zip(own, maps, strict=True):
            torch.testing.assert_close(mask, all_masks[k : k + 1])


@every_form
def test_a_mechanism_is_deterministic_unless_it_is_sampled(name, last):
    module = slot(name, last).eval()
    x, query = inputs(6, 5)
    first, again, other = (attend(module, x, query, seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert torch.equal(first, other) != MECHANISMS[name].sampled


@every_form
def test_the_query_changes_the_output_if_the_mechanism_uses_it(name, last):
    module = slot(name, last).eval()
    x, query = inputs(6, 5)
    (out, masks), (other, other_masks) = (attend(module, x, q) for q in (query, query.roll(1, dims=1)))
    moved = [(a - b).abs().max() for a, b in [(out, other), *zip(masks, other_masks, strict=True)]]
    assert (max(moved) > 1e-6) == MECHANISMS[name].uses_query


@every_form
def test_a_mechanism_works_without_a_query(name, last):
    module = slot(name, last, query_dim=0).eval()
    assert attend(module, inputs(4, 5)[0], None)[0].isfinite().all()


@every_form
def test_a_missing_query_is_an_error(name, last):
    if MECHANISMS[name].uses_query:
        with pytest.raises(ValueError, match="query is None"):
            attend(slot(name, last), inputs(3, 3)[0], None)


@every_form
def test_half_precision_is_close_to_single_precision(name, last):
    module = slot(name, last).float()
    x, query = (t.float() for t in inputs(6, 5))
    exact, maps = attend(module, x, query)
    with torch.autocast("cpu", torch.bfloat16):
        out, rounded = attend(module, x, query)
    (out.float().sum() + sum(mask.float().square().sum() for mask in rounded)).backward()
    assert (out.float() - exact).norm() < 0.05 * exact.norm()
    for a, b in zip(maps, rounded, strict=True):
        assert (a - b.float()).norm() < 0.1 * a.norm()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def compiles(name: str, last: bool, backend: str) -> None:
    """Compare loss and gradients of a module compiled as one graph with those of the plain module."""
    x, query = inputs(4, 3)
    losses, gradients = [], []
    for compiled in (False, True):
        module = slot(name, last)
        torch._dynamo.reset()
        if compiled:
            module.compile(backend=backend, fullgraph=True)
        losses.append(loss_of(run(module, x, query)))
        losses[-1].backward()
        gradients.append([p.grad for p in module.parameters()])
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients)


def program(name: str, last: bool) -> tuple:
    """Return what distinguishes compiled programs: the class, the slot, and the options that are not sizes."""
    m = MECHANISMS[name]
    return m.target, last, *sorted((k, v) for k, v in m.options.items() if isinstance(v, bool | str))


PROGRAMS = list({program(*form): form for form in reversed(FORMS)}.values())[::-1]


@pytest.mark.parametrize(("name", "last"), long_form(PROGRAMS, PROGRAMS[::4]))
def test_a_mechanism_compiles_to_one_graph(name, last):
    compiles(name, last, "aot_eager")


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="no C++ compiler")
@pytest.mark.parametrize(("name", "last"), long_form([("pan-ctx", False), ("arnn", True)], [("arnn", True)]))
def test_a_mechanism_compiles_to_machine_code(name, last):
    compiles(name, last, "inductor")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_form
def test_mechanisms_agree_on_cpu_and_cuda(name, last, request):
    module = slot(name, last).eval()
    x, query = inputs(7, 5)
    request.getfixturevalue("one_draw")
    out, masks = attend(module, x, query)
    other, other_masks = attend(module.cuda(), x.cuda(), query.cuda())
    torch.testing.assert_close(other.cpu(), out)
    for a, b in zip(other_masks, masks, strict=True):
        torch.testing.assert_close(a.cpu(), b)


RANGES = {int: r"\b[01] or more|\bodd\b", float: r"\b0 or more", bool: r"\btrue\b.*\bfalse\b", str: r"\w,? or \S"}
"""Phrases of a docstring for the allowed values of an option, by type."""


@pytest.mark.parametrize("name", WITH_CLASS)
def test_every_docstring_cites_its_equation_and_gives_its_arguments(name):
    m = MECHANISMS[name]
    module = __import__(m.cls.__module__, fromlist=["_"])
    said = f"{module.__doc__} {m.cls.__doc__}"
    assert re.search(r"\b20[12]\d\b", said)
    assert "§" in said or "Eq." in said
    assert re.search(r"Decisions where the papers? leaves? a choice", said)
    assert "(B, " in (m.cls.forward.__doc__ or "")
    for option, value in m.parameters().items():
        line = re.search(rf"^ +{option}: (.*(?:\n {{12}}.*)*)", m.cls.__doc__, re.MULTILINE)
        assert line, option
        assert re.search(RANGES[type(value)], line[1], re.DOTALL), line[0]
