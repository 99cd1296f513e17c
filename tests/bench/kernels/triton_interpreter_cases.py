"""The Triton kernels in Triton's interpreter, compared with the reference.

diagonal_lstm/test_triton_op.py runs these tests in a process with TRITON_INTERPRET=1. Only `--rounds 200` tests many
sizes. All memory is filled with NaN before it is written. The interpreter truncates what it should round to bf16, and
multiplies factors of tf32 in fp32, without the truncation of a tensor core, which `truncating_tensor_cores` adds.
"""

import itertools

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

from bench.kernels import diagonal_lstm as package
from bench.kernels.diagonal_lstm import (
    FALLBACK,
    PRODUCTS,
    ImplementationError,
    describe_triton_problem,
    diagonal_lstm,
    example,
    reference,
    relative_error,
    triton_dot,
    triton_kernels,
    triton_op,
    triton_weights,
)
from tests.bench.kernels.diagonal_lstm.cases import arguments, run
from tests.perf.interpreting import mend

CUT = 2e-2  # twice the bound for bf16, because the error of truncation is twice that of rounding
SIZES = [  # m, n, C, t, p, B
    (1, 1, 3, 16, 2, 3),
    (1, 3, 8, 32, 16, 1),
    (3, 2, 20, 20, 3, 1),
    (2, 1, 8, 16, 1, 2),
    (2, 3, 3, 16, 2, 1),
    (1, 2, 8, 32, 2, 1),
    (7, 5, 8, 16, 2, 1),
    (5, 7, 3, 20, 3, 1),
    (3, 2, 35, 16, 3, 1),
]
FEW = 3


mend()


@pytest.fixture(autouse=True)
def fresh_memory_is_nan():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def without_the_self_test(monkeypatch):
    assert triton_op.EMULATED
    monkeypatch.setattr(package, "triton_self_test", lambda *_: "")


def single(*sizes, dtype=torch.float32):
    m, n, channels, t, p, batch = sizes
    return arguments(m, n, t, channels, batch, p, dtype)


@pytest.mark.parametrize("sizes", SIZES)
def test_values_and_gradients_of_triton_equal_the_reference(sizes, rounds):
    if sizes not in SIZES[:FEW] and rounds < 200:
        pytest.skip("more sizes are for the long form, --rounds 200")
    exact = run("reference", single(*sizes, dtype=torch.float64))
    for got, expected in zip(run("triton", single(*sizes)), exact, strict=True):
        assert relative_error(got, expected) < 1e-6


def of_weights(*sizes, dtype=torch.float64, seed=0):
    """Return random arguments of `weight_gradients`: x, h, and the gradients of the gates' sums and of the output."""
    m, n, channels, t, p, batch = sizes
    generator = torch.Generator().manual_seed(seed)
    shapes = (batch, m, n, channels), (2, batch, m, n, t), (2, batch, m, n, 4 * t), (2, batch, p, m, n)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


@pytest.mark.parametrize("products", ["bf16x6", "bf16"])
@pytest.mark.parametrize("sizes", [*SIZES, (9, 15, 5, 3, 1, 2), (11, 13, 17, 33, 19, 1)])
def test_triton_weight_gradients_equal_the_reference(sizes, products, rounds):
    """The last two sizes need several blocks of cells. Factors are exact in both dtypes; sums are computed in fp32."""
    if sizes in SIZES[FEW:] and rounds < 200:
        pytest.skip("more sizes are for the long form, --rounds 200")
    dtype = torch.bfloat16 if products == "bf16" else torch.float32
    rough = of_weights(*sizes, dtype=dtype)
    exact = reference.weight_gradients(*(x.double() for x in rough))
    for got, expected in zip(triton_op.weight_gradients(*rough, products), exact, strict=True):
        assert (got.dtype, got.shape) == (torch.float32, expected.shape)
        assert relative_error(got, expected) < 1e-6


def test_weight_gradients_of_an_image_do_not_depend_on_other_images():
    inputs = of_weights(3, 4, 5, 16, 2, 3, dtype=torch.float32)
    for x, image in zip(inputs, (0, 1, 1, 1), strict=True):
        x.select(image, 1)[:] = 0
    whole = triton_op.weight_gradients(*inputs, "bf16x6")
    others = [x.index_select(image, torch.tensor([0, 2])) for x, image in zip(inputs, (0, 1, 1, 1), strict=True)]
    bias, *expected = triton_op.weight_gradients(*others, "bf16x6")
    assert torch.equal(whole[0], torch.stack([bias[:, 0], torch.zeros_like(bias[:, 0]), bias[:, 1]], 1))
    for a, b in zip(whole[1:], expected, strict=True):
        torch.testing.assert_close(a, b)


@triton.jit
def rounded(x, out, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    k = tl.arange(0, 16)
    tl.store(out + k, triton_dot.factor(tl.load(x + k), PRODUCTS, EMULATED))


def test_a_factor_of_tf32_is_rounded_to_nearest():
    ulp, tiny, huge = 2.0**-10, 2.0**-149, torch.finfo(torch.float32).max
    given = torch.tensor(
        [
            *(0, -0.0, 1, 1 + ulp / 2, 1 + ulp / 2 - 2**-23, -1 - ulp * 3 / 4, 2 - ulp / 2, 4096 * tiny, 4095 * tiny),
            *(huge, -torch.inf, torch.nan, 0, 0, torch.inf, -3 * ulp),
        ]
    )
    given.view(torch.int32)[12:14] = torch.tensor([0x7FFFFFFF, -1], dtype=torch.int32)  # NaN as a GPU writes it
    out = torch.empty_like(given)
    rounded[(1,)](given, out, "tf32", True)
    expected = [0, -0.0, 1, 1 + ulp, 1, -1 - ulp, 2, 8192 * tiny, 0, torch.inf]
    expected += [-torch.inf, torch.nan, torch.nan, torch.nan, torch.inf, -3 * ulp]
    torch.testing.assert_close(out, torch.tensor(expected), rtol=0, atol=0, equal_nan=True)
    assert not (out.view(torch.int32)[~out.isnan()] & 0x1FFF).any()
    many = torch.randn(16, generator=torch.Generator().manual_seed(0))
    rounded[(1,)](many, out, "tf32", True)
    assert ((out - many).abs() <= many.abs() * 2.0**-11).all()


@pytest.fixture
def truncating_tensor_cores(monkeypatch):
    """Truncate the last 13 bits of all factors, as tensor cores do with tf32."""
    multiply = interpreter.InterpreterBuilder.create_dot

    def cut(factor):
        bits = np.ascontiguousarray(factor.data).view(np.uint32) & np.uint32(0xFFFFE000)
        return interpreter.TensorHandle(bits.view(np.float32), factor.dtype)

    monkeypatch.setattr(
        interpreter.InterpreterBuilder, "create_dot", lambda self, a, b, *rest: multiply(self, cut(a), cut(b), *rest)
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


@triton.jit
def unrounded(x, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    return x


@pytest.mark.usefixtures("truncating_tensor_cores")
@pytest.mark.parametrize("rounds_factors", [True, False])
def test_triton_tf32_is_accurate_on_tensor_cores_that_truncate(rounds_factors, monkeypatch):
    """With rounding, the error is within the bound of the self-test, 1e-3; with truncation only, it is not.

    The error of a rounded factor is at most 2⁻¹¹, so that of a product is 2⁻¹⁰, or 9.8e-4. Measured errors of values
    and gradients on maps of 12 × 12, 25 × 20 and 50 × 20: 3.4e-4 to 5.8e-4 rounded, 8e-4 to 1.8e-3 truncated.
    """
    if not rounds_factors:
        monkeypatch.setattr(triton_kernels, "factor", unrounded)
        monkeypatch.setattr(triton_weights, "factor", unrounded)
    inputs = arguments(3, 3, 32, 32, 1, 2)
    exact = run("packed", inputs)
    found = run("triton", [x.detach().float().requires_grad_() for x in inputs])
    errors = [relative_error(a, b) for a, b in zip(found, exact, strict=True)]
    assert min(errors) > 1e-4, "tf32 was not used"
    assert (max(errors) < PRODUCTS["tf32"]) == rounds_factors, errors


@pytest.mark.parametrize("sizes", [(3, 2, 8, 16, 2, 1), (1, 3, 35, 20, 2, 2)])
def test_triton_bf16_is_close_to_the_reference(sizes):
    exact = run("reference", single(*sizes, dtype=torch.float64))
    for got, expected in zip(run("triton", single(*sizes, dtype=torch.bfloat16)), exact, strict=True):
        assert got.dtype == torch.bfloat16
        assert relative_error(got, expected) < CUT


def test_triton_multiplies_in_bf16_under_autocast():
    inputs = single(2, 2, 3, 16, 2, 1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = diagonal_lstm(*inputs[:4], "triton", inputs[4])
        assert diagonal_lstm(*inputs[:4], "packed", inputs[4]).dtype == torch.float32
    exact = diagonal_lstm(*inputs[:4], "reference", inputs[4])
    assert out.dtype == torch.bfloat16
    assert 1e-4 < relative_error(out, exact) < CUT


def test_triton_state_depends_on_exactly_its_cells():
    """The context of each image is perturbed at another cell."""
    m, n = 2, 3
    context, bias, kernel_x, kernel_h = (a.detach() for a in single(m, n, 3, 16, None, 1))
    images = context.repeat(m * n + 1, 1, 1, 1)
    cells = list(itertools.product(range(m), range(n)))
    for k, (i, j) in enumerate(cells):
        images[k, :, i, j] += 1
    h = diagonal_lstm(images, bias.expand(2, len(images), -1), kernel_x, kernel_h, "triton")
    seen = (h[:, :-1] != h[:, -1:]).any(dim=2)
    rows, columns = torch.meshgrid(torch.arange(m), torch.arange(n), indexing="ij")
    for k, (i, j) in enumerate(cells):
        assert torch.equal(seen[0, k], (rows >= i) & (columns >= j))
        assert torch.equal(seen[1, k], (rows >= i + 1) & (columns <= j))


def test_triton_is_deterministic_and_saves_nothing_without_gradients():
    inputs = single(2, 2, 3, 16, 2, 1)
    first, second = run("triton", inputs), run("triton", inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with torch.no_grad():
        assert torch.equal(diagonal_lstm(*inputs[:4], "triton", inputs[4]), first[0])
    plain = [x.detach() for x in inputs]
    assert [x.numel() for x in triton_op.operator(*plain, "bf16x6", False)[1:]] == [0, 0]


def test_triton_accepts_any_layout_and_computes_some_gradients():
    inputs = single(2, 2, 3, 16, 2, 1)
    expected = run("triton", inputs)
    context, bias, kernel_x, kernel_h, readout = (x.detach() for x in inputs)
    views = (
        context.contiguous(memory_format=torch.channels_last),
        bias.repeat(1, 1, 2)[:, :, : bias.shape[2]],
        torch.cat([kernel_x, kernel_x], 2)[:, :, :3],
        kernel_h.transpose(1, 2).contiguous().transpose(1, 2),
        readout,
    )
    leaves = [v.requires_grad_(v is not readout) for v in views]
    out = diagonal_lstm(*leaves[:4], "triton", leaves[4])
    weight = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).float()
    got = out.detach(), *torch.autograd.grad((out * weight).sum(), leaves[:4])
    for a, b in zip(got, expected, strict=False):
        assert torch.equal(a, b)


def test_triton_operator_passes_opcheck():
    inputs = single(1, 2, 3, 16, 2, 1)
    plain = [x.detach() for x in inputs]
    torch.use_deterministic_algorithms(False)
    checks = "test_schema", "test_autograd_registration", "test_faketensor"
    torch.library.opcheck(triton_op.operator, (*inputs, "bf16x6", True), test_utils=checks)
    out, *kept = triton_op.operator(*plain, "bf16x6", True)
    for wanted in (True, False):
        given = torch.ones_like(out), *plain, *kept, "bf16x6", wanted
        torch.library.opcheck(triton_op.gradients, given, test_utils=checks)


def test_triton_operator_compiles_to_one_graph_for_all_sizes():
    def step(*inputs):
        return (2 * diagonal_lstm(*inputs[:4], "triton", inputs[4])).square().sum()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=True)
    for m, n, batch in ((1, 2, 1), (2, 1, 2)):
        inputs = single(m, n, 3, 16, 2, batch)
        expected = torch.autograd.grad(step(*inputs), inputs)
        for a, b in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
            assert torch.equal(a, b)


def test_sizes_beyond_shared_memory_use_another_implementation(monkeypatch):
    device = torch.device("cpu")
    assert not describe_triton_problem(device, torch.float32, 50, 50, 32, 32, 2)
    assert not describe_triton_problem(device, torch.bfloat16, 112, 112, 64, 32, 2)
    assert describe_triton_problem(
        device, torch.bfloat16, 112, 112, 128, 32, 2
    )  # it needs 263,168 bytes of shared memory of 232,448
    for m, n, channels, t in [(129, 3, 3, 16), (3, 3, 1000, 16), (3, 3, 3, 256), (50, 2**24, 3, 16)]:
        for dtype in (torch.float32, torch.bfloat16):
            problem = describe_triton_problem(device, dtype, m, n, channels, t, 2)
            assert problem.startswith(f"an SM has no room for a map of {m} × {n} ")
    monkeypatch.setattr(package, "_on_cpu", lambda *_: False)
    package.warn_triton_fallback.cache_clear()
    inputs = [x.detach() for x in single(3, 2, 3, 80, 2, 1)]
    with pytest.warns(RuntimeWarning, match=r"no room for a map of 3 × 2 with 3 channels, 80 units .*bf16x6"):
        out = diagonal_lstm(*inputs[:4], None, inputs[4])
    assert torch.equal(out, diagonal_lstm(*inputs[:4], FALLBACK, inputs[4]))
    with pytest.raises(ImplementationError, match="an SM has no room for a map of 3 × 2"):
        diagonal_lstm(*inputs[:4], "triton", inputs[4])


def test_self_test_detects_wrong_triton_results(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(package, "_on_cpu", lambda *_: False)
    monkeypatch.setitem(package.IMPLEMENTATIONS, "triton", lambda *a: package.IMPLEMENTATIONS["packed"](*a) * 1.001)
    package.triton_self_test.cache_clear()
    inputs = [x.float() for x in example(1, 2, 3, 3, 16, 2)]
    with pytest.warns(RuntimeWarning, match=r"Triton diagonal LSTM does not work here \(its error is 2.0e-03\)"):
        out = diagonal_lstm(*inputs[:4], None, inputs[4])
    assert torch.equal(out, diagonal_lstm(*inputs[:4], FALLBACK, inputs[4]))
    monkeypatch.setenv(package.VARIABLE, "triton")
    with pytest.raises(ImplementationError, match=r"^BENCH_DIAGONAL_LSTM=triton: .*its error is 2.0e-03"):
        diagonal_lstm(*inputs[:4], None, inputs[4])
    package.triton_self_test.cache_clear()
