"""The compiled gate compared with plain operators in double precision, and cases that use plain operators."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import bench
from bench.attention.arnn import AttentionRNN
from bench.attention.base import Gate, apply_gate, repeat_for_questions
from bench.distributed.global_batch import RowRange, global_batch_rows
from bench.kernels import gate, pool
from bench.kernels.diagonal_lstm import relative_error as error

INDICES = {
    "ragged": torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 3, 3]),
    "in any order": torch.tensor([3, 0, 3, 1, 0, 2, 1, 1]),
    "an image without": torch.tensor([3, 1, 1, 0]),
    "one": torch.tensor([2, 2]),
    "1 each": 1,
    "3 each": 3,
}
SIZES = [(1, 1), (1, 5), (7, 1), (3, 3), (13, 7), (9, 15)]
TOLERANCE = 2e-6


def a_norm(channels, training=True):
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(channels, eps=0.01).train(training)
    with torch.no_grad():
        norm.weight.normal_(1, 0.3), norm.bias.normal_(), norm.running_mean.normal_(), norm.running_var.uniform_(1, 2)
    return norm


def arguments(index, height, width, channels=8, images=4):
    """Return x, channels last, and a mask."""
    questions = len(index) if isinstance(index, torch.Tensor) else index * images
    generator = torch.Generator().manual_seed(0)
    x = 1 + torch.randn(images, channels, height, width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last), torch.rand(questions, 1, height, width, generator=generator)


class _TakenError(Exception):
    """Raised if the compiled gate is called."""


def taken(x, mask, index, norm):
    """Return whether the compiled gate runs."""
    gate.compiled_works(torch.float32), gate.compiled_works(torch.bfloat16)  # the self-test calls the gate too

    def run(*_):
        raise _TakenError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "gated_norm", run)
        try:
            apply_gate(x, mask, index, norm)
        except _TakenError:
            return True
        except (IndexError, RuntimeError, ValueError):  # the plain operators refuse some cases
            return False
    return False


def plain(x, mask, index, norm):
    return norm(repeat_for_questions(x, index) * mask)


def outcome(function, dtype, index, norm, *given):
    """Return values, every gradient of a random function of them, and the running statistics."""
    norm = copy.deepcopy(norm).to(dtype)
    x, mask = (value.clone().to(dtype).requires_grad_() for value in given)
    out = function(x, mask, index, norm)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    found = torch.autograd.grad((out * slope).sum(), (x, mask, norm.weight, norm.bias))
    return [out.detach(), *found, *(value.to(dtype) for value in norm.buffers())]


def test_compiled_gate_works_on_this_machine():
    """Otherwise the tests below would compare the plain gate with itself."""
    pytest.importorskip("numba")
    assert gate.compiled_works(torch.float32)
    assert gate.compiled_works(torch.bfloat16)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_compiled_gate_equals_plain_operators(height, width, index, training):
    for channels in (8, 40):
        given, norm = arguments(index, height, width, channels), a_norm(channels, training)
        assert taken(*given, index, norm)
        found = outcome(apply_gate, torch.float32, index, norm, *given)
        exact = outcome(plain, torch.float64, index, norm, *given)
        rough = outcome(plain, torch.float32, index, norm, *given)
        assert found[0].is_contiguous(memory_format=torch.channels_last)
        for k, (a, b, c) in enumerate(zip(found, exact, rough, strict=True)):
            # with a few values per channel, gradients are almost zero, in plain operators too
            assert error(a, b) < max(TOLERANCE, 2 * error(c, b)), k


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize("mask_dtype", [torch.bfloat16, torch.float32])
def test_compiled_gate_in_bf16_rounds_only_its_results(mask_dtype, index, training):
    (x, mask), norm = arguments(index, 9, 15, 40), a_norm(40, training)
    x, mask = x.bfloat16(), mask.to(mask_dtype)
    exact = outcome(plain, torch.float64, index, norm, x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        assert taken(x, mask, index, copy.deepcopy(norm))
        own, inputs = copy.deepcopy(norm), (x.clone().requires_grad_(), mask.clone().requires_grad_())
        out, as_plain = apply_gate(*inputs, index, own), plain(x, mask, index, copy.deepcopy(norm))
    assert out.dtype == as_plain.dtype == mask_dtype
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(out.dtype)
    found = torch.autograd.grad((out.float() * slope.float()).sum(), (*inputs, own.weight, own.bias))
    assert [value.dtype for value in found] == [torch.bfloat16, mask_dtype, torch.float32, torch.float32]
    bound = 4e-3 if len(mask) > 2 else 0.1  # with two questions, gradients are small differences
    for k, (a, b) in enumerate(zip([out.detach(), *found, *own.buffers()], exact, strict=True)):
        assert error(a, b) < bound, k


def test_gate_statistics_of_features_far_from_zero_are_accurate():
    x, mask = arguments(3, 13, 7)
    given, norm = (x + 1000, torch.ones_like(mask)), a_norm(8)
    found = outcome(apply_gate, torch.float32, 3, norm, *given)
    exact = outcome(plain, torch.float64, 3, norm, *given)
    assert error(found[-2], exact[-2]) < 1e-6  # the running variance
    assert error(found[0], exact[0]) < 1e-3  # 1000 ± 6e-5 in single precision


@pytest.mark.parametrize("training", [True, False])
def test_compiled_gate_has_second_derivatives(training):
    index, norm = INDICES["in any order"], a_norm(8, training)
    results = []
    for function, dtype in ((apply_gate, torch.float32), (plain, torch.float64)):
        own = copy.deepcopy(norm).to(dtype)
        x, score = (value.clone().to(dtype).requires_grad_() for value in arguments(index, 5, 3))
        # the mask depends on x too
        out = function(x, (score + repeat_for_questions(x, index).mean(1, keepdim=True)).sigmoid(), index, own)
        inputs = (x, score, own.weight, own.bias)
        first = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        results.append([*first, *second])
    for found, exact in zip(*results, strict=True):
        assert error(found, exact) < 1e-5


def test_compiled_gate_in_bf16_has_second_derivatives():
    index, norm, results = INDICES["in any order"], a_norm(8), []
    given = [value.bfloat16() for value in arguments(index, 5, 3)]
    for function, dtype in ((apply_gate, torch.bfloat16), (plain, torch.float64)):
        own = copy.deepcopy(norm).to(torch.promote_types(dtype, torch.float32))
        x, mask = (value.to(dtype).requires_grad_() for value in given)
        with torch.autocast("cpu", torch.bfloat16, enabled=function is apply_gate):
            out = function(x, mask, index, own)
        first = torch.autograd.grad(out.to(own.weight.dtype).pow(3).sum(), (x, mask), create_graph=True)
        results.append([*first, *torch.autograd.grad(sum(g.square().sum() for g in first), (x, mask))])
    for found, exact in zip(*results, strict=True):
        assert error(found, exact) < 0.05


def test_number_of_threads_does_not_change_the_gate():
    index = INDICES["ragged"]
    given, norm, results = arguments(index, 13, 7, 16), a_norm(16), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(outcome(apply_gate, torch.float32, index, norm, *given))
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


def test_image_without_questions_does_not_affect_the_gate():
    index = INDICES["an image without"]
    (x, mask), norm = arguments(index, 3, 3), a_norm(8)
    x[2] = torch.nan
    found = outcome(apply_gate, torch.float32, index, norm, x, mask)
    assert all(value.isfinite().all() for value in found)
    assert (found[1][2] == 0).all()


def a_hook(norm):
    norm.register_forward_hook(lambda *_: None)
    return norm


NOT_TAKEN = {
    "one question each": lambda x, mask, index, norm: (x, mask, None, norm),
    "double precision": lambda x, mask, index, norm: (x.double(), mask.double(), index, norm.double()),
    "a mask in half precision": lambda x, mask, index, norm: (x, mask.bfloat16(), index, norm),
    "channels first": lambda x, mask, index, norm: (x.contiguous(), mask, index, norm),
    "an odd number of channels": lambda x, mask, index, norm: (x[:, :7], mask, index, nn.BatchNorm2d(7)),
    "a mask for each channel": lambda x, mask, index, norm: (x, mask.expand(-1, 8, -1, -1), index, norm),
    "an image that is not there": lambda x, mask, index, norm: (x, mask, index + 1, norm),
    "an image before the first": lambda x, mask, index, norm: (x, mask, index - 1, norm),
    "a norm of many processes": lambda x, mask, index, norm: (
        x,
        mask,
        index,
        nn.SyncBatchNorm.convert_sync_batchnorm(norm),
    ),
    "a norm without weights": lambda x, mask, index, norm: (
        x,
        mask,
        index,
        nn.BatchNorm2d(8, affine=False),
    ),
    "no running statistics": lambda x, mask, index, norm: (
        x,
        mask,
        index,
        nn.BatchNorm2d(8, track_running_stats=False),
    ),
    "a mean of all steps": lambda x, mask, index, norm: (x, mask, index, nn.BatchNorm2d(8, momentum=None)),
    "changed weights": lambda x, mask, index, norm: (
        x,
        mask,
        index,
        parametrizations.weight_norm(norm, dim=None),
    ),
    "a hook": lambda x, mask, index, norm: (x, mask, index, a_hook(norm)),
    "another device": lambda x, mask, index, norm: (x.to("meta"), mask.to("meta"), index, norm.to("meta")),
}


@pytest.mark.parametrize("change", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_gate_on_other_devices_and_dtypes_uses_plain_operators(change):
    index = INDICES["ragged"]
    given = (*arguments(index, 5, 3), index, a_norm(8))
    assert taken(*given)
    assert not taken(*change(*given))


def test_gate_uses_plain_operators_if_a_context_intercepts_operations():
    index = INDICES["ragged"]
    given, seen = (*arguments(index, 5, 3), index, a_norm(8, training=False)), []

    def ask(*_):
        seen.append(taken(*given))
        return torch.zeros(())

    with global_batch_rows(RowRange(0, 4, 4), lambda x: x, 1, 0):
        ask()
    with torch.autograd.forward_ad.dual_level():
        ask()
    torch.func.grad(ask)(torch.zeros(()))
    with torch.device("cpu"):
        ask()
    assert seen == [False] * 4
    ask()
    assert seen[-1]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated")
def test_traced_and_exported_programs_have_plain_gate_operators():
    index = INDICES["ragged"]
    (x, mask), norm = arguments(index, 5, 3), a_norm(8, training=False)

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, x, mask):
            return apply_gate(x, mask, index, self.norm)

    exported = torch.export.export(Gated(), (x, mask))
    assert "batch_norm" in str(exported.graph)
    traced = torch.jit.trace(Gated(), (x, mask))
    assert "batch_norm" in str(traced.inlined_graph)
    for program in (exported.module(), traced):
        assert error(program(x + 1, mask), plain(x + 1, mask, index, norm)) < 1e-6


@pytest.mark.parametrize("index", [INDICES["ragged"], 1])
def test_gate_result_may_be_changed_in_place(index):
    (x, mask), norm = arguments(index, 5, 3), a_norm(8)
    found, wanted = (x.clone().requires_grad_() for _ in range(2))
    apply_gate(found, mask, index, norm).mul_(2).pow(2).sum().backward()
    (2 * plain(wanted, mask, index, norm)).pow(2).sum().backward()
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-5)


class _Score(nn.Module):
    def forward(self, x, query):
        return x.mean(1, keepdim=True) + query.sum(1)[:, None, None, None]


def test_question_about_a_missing_image_is_an_error():
    x, query = arguments(1, 5, 3)[0], torch.ones(2, 3)
    with pytest.raises((IndexError, RuntimeError), match="out of range"):
        Gate(_Score(), 8)(x, query, torch.tensor([0, 4]))


# numbers of compiled gates and scores
FUSED = {"pan": 6, "arnn": 3, "brnn2,arnn": 3, "none,pan": 4, "cbam,none,pan": 2, "san": 1, "none,cbam,none,arnn": 0}


@pytest.mark.parametrize(("attn", "fused"), FUSED.items())
@pytest.mark.parametrize("training", [True, False])
def test_network_with_compiled_gates_has_equal_outputs_and_gradients(attn, fused, training, monkeypatch):
    torch.manual_seed(0)
    model = bench.create_model(attn, classes=4, queries=10, size=(38, 45), width=8, dropout=0.0).train(training)
    model = model.to(memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, AttentionRNN):
            module.sigma_scale = 0.0
    query = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    images = torch.rand(4, 3, 38, 45).contiguous(memory_format=torch.channels_last)
    taken, results = [], []

    def counted(takes):
        def ask(*given):
            taken.append(takes(*given))
            return taken[-1]

        return ask

    for name in ("takes_gate", "supports_query_score"):
        monkeypatch.setattr(gate, name, counted(getattr(gate, name)))
    for dtype in (torch.float32, torch.float64):
        own = copy.deepcopy(model).to(dtype)
        x = images.clone().to(dtype).requires_grad_()
        out = own(x, query, INDICES["ragged"])
        torch.nn.functional.cross_entropy(out.logits, query % 4).backward()
        found = [out.logits.detach(), *(mask.detach() for mask in out.masks), x.grad]
        results.append([*found, *(p.grad for p in own.parameters() if p.grad is not None), *own.buffers()])
    assert taken == [True] * fused + [False] * fused  # in single precision, then in double precision
    for a, b in itertools.zip_longest(*results):
        assert float((a.double() - b).norm()) <= 2e-4 * float(b.double().norm()) + 1e-6


@pytest.mark.parametrize("attn", ["pan", "pan-ctx", "arnn"])
def test_network_with_compiled_gates_is_as_accurate_in_bf16_as_with_plain_operators(attn, monkeypatch):
    torch.manual_seed(0)
    model = bench.create_model(attn, classes=4, queries=10, size=(38, 45), width=8, dropout=0.0).train()
    model = model.to(memory_format=torch.channels_last)
    query = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    images, results = torch.rand(4, 3, 38, 45).contiguous(memory_format=torch.channels_last), {}
    for kind in ("exact", "compiled", "plain"):
        if kind == "plain":
            for room, name in ((gate, "takes_gate"), (gate, "supports_query_score"), (pool, "is_supported")):
                monkeypatch.setattr(room, name, lambda *_: False)
        own = copy.deepcopy(model).to(torch.float64 if kind == "exact" else torch.float32)
        x = images.to(torch.float64 if kind == "exact" else torch.float32)
        torch.manual_seed(1)  # of the samples of arnn
        with torch.autocast("cpu", torch.bfloat16, enabled=kind != "exact"):
            out = own(x, query, INDICES["ragged"])
            torch.nn.functional.cross_entropy(out.logits, query % 4).backward()
        gradient = torch.cat([p.grad.flatten().double() for p in own.parameters() if p.grad is not None])
        results[kind] = [out.logits.detach().double(), gradient]
    for found, exact, plainly in zip(results["compiled"], results["exact"], results["plain"], strict=True):
        assert error(found, exact) < max(0.01, 2 * error(plainly, exact))
