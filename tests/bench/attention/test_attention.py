"""What every mechanism owes, driven by the registry: a new entry is tested the day it is added."""

import itertools
import os
import re
import shutil

import pytest
import torch
from torch import Tensor, nn

import bench
from bench.attention import MECHANISMS, AttentionRNN, canonical_name, resolve_network
from bench.attention.base import Changed, Gate, PooledReadout, Reading, Readout, Scored
from bench.attention.layers import QueryEmbedding
from mnistref.common.errors import UsageProblemError

CHANNELS, QUERIES = 8, 4
FORMS = [
    (name, last) for name, m in MECHANISMS.items() if m.target for last in (False, True) if last or not m.last_only
]
IDS = [f"{name}-{'last' if last else 'gate'}" for name, last in FORMS]
SIZES = [(1, 9), (9, 1), (1, 1), (7, 13), (6, 6)]
every_form = pytest.mark.parametrize(("name", "last"), FORMS, ids=IDS)


def slot(name: str, last: bool, query_dim: int = QUERIES) -> nn.Module:
    """A mechanism as the network uses it, in float64, every parameter moved from where it starts."""
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
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, CHANNELS, height, width, generator=generator, dtype=torch.float64)
    return x, torch.eye(QUERIES, dtype=torch.float64)[torch.arange(batch) % QUERIES]


def pyramid(x: Tensor) -> list[Tensor]:
    """The features of three slots, the last of them x."""
    return [*(torch.nn.functional.interpolate(x, scale_factor=2.0**k) for k in (2, 1)), x]


def run(module: nn.Module, x: Tensor, query: Tensor | None, seed: int = 5) -> Changed | Reading:
    """What the slot returns. A sampled mechanism draws the same under the same seed."""
    torch.manual_seed(seed)
    return module(pyramid(x) if isinstance(module, Readout) else x, query)


def attend(module: nn.Module, x: Tensor, query: Tensor | None, seed: int = 5) -> tuple[Tensor, list[Tensor]]:
    """Features or vectors, and maps."""
    out = run(module, x, query, seed)
    if isinstance(out, Reading):
        return out.vectors, out.masks
    return out.features, [] if out.mask is None else [out.mask]


def loss_of(out: Changed | Reading) -> Tensor:
    """Of what goes on from the slot, all of it."""
    parts = [out.features] if isinstance(out, Changed) else [out.vectors, out.log_weights]
    generator = torch.Generator().manual_seed(2)
    weighted = [
        (part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum()
        for part in parts
        if part is not None
    ]
    return torch.stack(weighted).sum()


@pytest.fixture
def one_draw(monkeypatch):
    """Every Gaussian number is 1, in any batch and on any device: what a sampled mechanism does with it shows."""
    monkeypatch.setattr(torch, "randn", torch.ones)


@every_form
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes_and_ranges(name, last, height, width, batch):
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
        # One number added to every score: the softmax of the last slot does not see it.
        shift = last and parameter_name.endswith("bias") and parameter.numel() == 1
        assert shift or parameter.grad.abs().max() > 1e-9, parameter_name


@every_form
def test_gradients_are_right(name, last):
    """Of the features and of every parameter, against finite differences, along random directions."""
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
def test_an_image_is_attended_alike_alone_and_in_a_batch(name, last, request):
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
def test_it_is_deterministic_or_sampled(name, last):
    module = slot(name, last).eval()
    x, query = inputs(6, 5)
    first, again, other = (attend(module, x, query, seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert torch.equal(first, other) != MECHANISMS[name].sampled


@every_form
def test_the_query_matters_where_it_is_used(name, last):
    module = slot(name, last).eval()
    x, query = inputs(6, 5)
    (out, masks), (other, other_masks) = (attend(module, x, q) for q in (query, query.roll(1, dims=1)))
    moved = [(a - b).abs().max() for a, b in [(out, other), *zip(masks, other_masks, strict=True)]]
    assert (max(moved) > 1e-6) == MECHANISMS[name].uses_query


@every_form
def test_it_works_without_a_query(name, last):
    module = slot(name, last, query_dim=0).eval()
    assert attend(module, inputs(4, 5)[0], None)[0].isfinite().all()


@every_form
def test_a_missing_query_is_an_error(name, last):
    if MECHANISMS[name].uses_query:
        with pytest.raises(ValueError, match="query is None"):
            attend(slot(name, last), inputs(3, 3)[0], None)


@every_form
def test_half_precision_stays_near(name, last):
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
    """Forward and backward in training, compiled whole, are what they are without."""
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
    """What tells one compiled program from another: the class, the slot, and the options that are no sizes."""
    m = MECHANISMS[name]
    return m.target, last, *sorted((k, v) for k, v in m.options.items() if isinstance(v, bool | str))


PROGRAMS = list({program(*form): form for form in reversed(FORMS)}.values())[::-1]


@pytest.mark.parametrize(("name", "last"), PROGRAMS)
def test_it_compiles(name, last):
    compiles(name, last, "aot_eager")


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="no C++ compiler")
@pytest.mark.parametrize(("name", "last"), [("pan-ctx", False), ("arnn", True)])
def test_it_compiles_to_machine_code(name, last):
    compiles(name, last, "inductor")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_form
def test_cpu_and_cuda_agree(name, last, request):
    module = slot(name, last).eval()
    x, query = inputs(7, 5)
    request.getfixturevalue("one_draw")
    out, masks = attend(module, x, query)
    other, other_masks = attend(module.cuda(), x.cuda(), query.cuda())
    torch.testing.assert_close(other.cpu(), out)
    for a, b in zip(other_masks, masks, strict=True):
        torch.testing.assert_close(a.cpu(), b)


LISTS = ["none,arnn", "pan,none,san", "none,none,none,pan", "brnn2,arnn", "stn-m,pan", "stn-m,none,none,ltpa-dp"]


def small(attn: str, classes: int = 5, queries: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return bench.create_model(attn, classes=classes, queries=queries, size=(48, 48))


@pytest.mark.parametrize("attn", [*MECHANISMS, *LISTS])
@pytest.mark.parametrize(("classes", "queries"), [(5, 10), (10, 5)])
def test_the_network_trains(attn, classes, queries):
    model = small(attn, classes, queries)
    out = model(torch.rand(3, 3, 48, 48), torch.tensor([0, 1, queries - 1]))
    assert out.logits.shape == (3, classes)
    for mask in out.masks:
        assert mask.shape == (3, 1, *mask.shape[2:])
        assert (mask >= 0).all()
        assert (mask <= 1).all()
    assert [m.shape[2] for m in out.masks] == sorted([m.shape[2] for m in out.masks], reverse=True)
    assert out.last_mask == (bool(out.masks) and out.masks[-1].shape[2:] == (3, 3))
    if out.last_mask:
        torch.testing.assert_close(out.masks[-1].sum(dim=(1, 2, 3)), torch.ones(3))
    torch.nn.functional.cross_entropy(out.logits, torch.tensor([0, 1, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(("variant", "maps"), [("mref", [50, 25, 12, 6]), ("mbgb", [112, 56, 28, 14, 7])])
@pytest.mark.parametrize("attn", MECHANISMS)
def test_the_network_at_the_papers_sizes(attn, variant, maps):
    model = bench.create_model(attn, variant=variant).eval()
    size = {"mref": 100, "mbgb": 224}[variant]
    with torch.inference_mode():
        out = model(torch.rand(1, 3, size, size), torch.tensor([3]))
    assert [m.shape[-1] for m in out.masks] == maps[len(maps) - len(out.masks) :]
    assert out.logits.isfinite().all()


@pytest.mark.parametrize("attn", MECHANISMS)
def test_evaluation_is_alike_in_a_batch_and_after_a_state_dict_round_trip(attn, request):
    model, other = small(attn).eval(), small(attn).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    other.load_state_dict(model.state_dict())
    images, query = torch.rand(4, 3, 48, 48), torch.tensor([1, 2, 3, 4])

    def logits(network: nn.Module, at: slice = slice(None)) -> Tensor:
        torch.manual_seed(5)
        return network(images[at], query[at]).logits

    together = logits(model)
    assert torch.equal(logits(other), together)
    request.getfixturevalue("one_draw")
    together = logits(model)
    for k in range(4):
        torch.testing.assert_close(logits(model, slice(k, k + 1)), together[k : k + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attn", MECHANISMS)
def test_the_answer_depends_on_the_query(attn):
    """Through the attention, or appended before the classifier: no network is left without the question."""
    model = small(attn).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    images = torch.rand(1, 3, 48, 48)
    torch.manual_seed(5)
    first = model(images, torch.tensor([1])).logits
    torch.manual_seed(5)
    assert (model(images, torch.tensor([2])).logits - first).abs().max() > 1e-5


@pytest.mark.parametrize("attn", MECHANISMS)
def test_with_one_seed_the_backbone_and_the_order_start_alike(attn):
    torch.manual_seed(7)
    san = bench.create_model("san", variant="mref")
    torch.manual_seed(7)
    other = bench.create_model(attn, variant="mref")
    for a, b in zip(san.stages.parameters(), other.stages.parameters(), strict=True):
        assert torch.equal(a, b)
    if san.head.classify.weight.shape == other.head.classify.weight.shape:
        for a, b in zip(san.head.parameters(), other.head.parameters(), strict=True):
            assert torch.equal(a, b)


OWN = [name for name, m in MECHANISMS.items() if m.target]
RANGES = {int: r"\b[01] or more|\bodd\b", float: r"\b0 or more", bool: r"\btrue\b.*\bfalse\b", str: r"\w,? or \S"}
"""How a docstring says what an option of that type may be."""


@pytest.mark.parametrize("name", OWN)
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


@pytest.mark.parametrize("name", OWN)
def test_every_option_refuses_what_is_out_of_its_range(name):
    """Sizes below 1, even kernels, words that are none of the choices."""
    m = MECHANISMS[name]
    for option, value in m.parameters().items():
        wrong = {bool: (), int: (0, -1), float: (-1.0, "nan", "inf"), str: ("mirror",)}[type(value)]
        if option in ("kernel", "context"):
            wrong += (2,)
        for text in wrong:
            with pytest.raises(UsageProblemError, match=option if text != 2 else "odd"):
                m.with_options([f"{option}={text}"]).build_module(CHANNELS, QUERIES)


@pytest.mark.parametrize("name", [name for name in OWN if "padding" in MECHANISMS[name].parameters()])
def test_padding_is_what_lies_outside(name):
    """Every way of it has an effect at the map's border, with the same parameters."""
    m = MECHANISMS[name]
    x, query = (t.float() for t in inputs(6, 8))
    seen = []
    for padding in ("zeros", "replicate", "reflect", "circular"):
        torch.manual_seed(0)
        module = m.with_options([f"padding={padding}"]).build_module(CHANNELS, QUERIES)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        torch.manual_seed(5)
        out = module(x, query)
        seen.append(out if isinstance(out, Tensor) else out[1] if isinstance(out, Scored) else out.features)
    reaches = any(isinstance(part, nn.Conv2d) and max(part.kernel_size) > 1 for part in module.modules())
    for one, other in itertools.combinations(seen, 2):
        assert one.shape == other.shape
        assert torch.equal(one, other) != reaches


def test_query_embedding_has_no_bias():
    assert [name for name, _ in QueryEmbedding(4, 6).named_parameters()] == ["linear.weight"]


def test_slot_lists():
    def names(attn: str, stages: int = 4) -> list[str]:
        return [m.name for m in resolve_network(attn, 8).slots(stages)]

    assert names("arnn") == ["arnn"] * 4
    assert names("none,arnn", 5) == ["none"] + ["arnn"] * 4
    assert names("san") == ["none", "none", "none", "san"]
    assert names("pan,san") == ["pan", "none", "none", "san"]
    assert names("noctx") == ["pan"] * 4
    assert canonical_name(" ctx , arnn,arnn") == "pan-ctx,arnn"
    assert canonical_name("none,none,san") == "san"
    with pytest.raises(UsageProblemError, match="san acts in the last slot only"):
        names("san,arnn")
    with pytest.raises(UsageProblemError, match="5 slots; this network has 4"):
        names("pan,pan-ctx,pan,pan-ctx,pan")
    with pytest.raises(UsageProblemError, match="did you mean 'arnn'"):
        names("arn")


def test_options_follow_a_name():
    assert canonical_name("arnn:hidden=16:context=5") == "arnn:context=5:hidden=16"
    assert canonical_name("arnn:hidden=32") == "arnn"
    assert canonical_name("ctx:kernel=5,arnn:hidden=8") == "pan-ctx:kernel=5,arnn:hidden=8"
    first, last = (resolve_network("pan-ctx:kernel=5", 8).slots(4)[k].build_module(8, 4, last=k > 0) for k in (0, 3))
    assert (first.features.kernel_size, last.features.kernel_size) == ((5, 5), (1, 1))
    layer = resolve_network("arnn:hidden=16:context=5:padding=replicate", 8).slots(4)[0].build_module(8, 4)
    assert layer.kernel_h.shape == (2, 64, 32)
    assert layer.context.kernel_size == (5, 5)
    assert layer.context.padding_mode == "replicate"
    for name in ("brnn2", "cbam-arnn"):
        layer = resolve_network(f"{name}:hidden=16:context=5:padding=replicate", 8).slots(4)[0].build_module(8, 4)
        within = next(part for part in layer.modules() if isinstance(part, AttentionRNN))
        assert within.kernel_h.shape == (2, 64, 32)
        assert within.context.kernel_size == (5, 5)
        assert within.context.padding_mode == "replicate"
    assert bench.create_model("ltpa-dp:levels=2", variant="mini").head.classify.in_features == 64


@pytest.mark.parametrize(
    ("attn", "message"),
    [
        ("arnn:hiden=3", "did you mean 'hidden'"),
        ("arnn:hidden=big", "not of the form hidden=32"),
        ("arnn:hidden", "not of the form"),
        ("arnn:hidden=0", "give 1 or more"),
        ("arnn:context=4", "give an odd number"),
        ("pan:padding=mirror", "padding"),
        ("none:hidden=3", "it has no options"),
        ("brnn2:block=0", "give 1 or more"),
        ("ltpa-dp:levels=5", "4 slots"),
        ("self:heads=5", "heads"),
        ("arnn:sampled=true", "no option 'sampled'"),
    ],
)
def test_wrong_options_are_usage_errors(attn, message):
    with pytest.raises(UsageProblemError, match=message):
        bench.create_model(attn, variant="mini")


def test_wrong_queries_raise():
    model = bench.create_model("pan", variant="mini")
    with pytest.raises(RuntimeError):
        model(torch.rand(1, 3, 48, 48), torch.tensor([10]))
