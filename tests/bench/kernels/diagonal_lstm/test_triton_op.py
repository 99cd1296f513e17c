"""The diagonal LSTM in Triton: in its interpreter in another process, and on a GPU if one is available."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.kernels.diagonal_lstm import (
    PRODUCTS,
    describe_triton_problem,
    diagonal_lstm,
    relative_error,
    resolve_implementation,
)
from tests.bench.kernels.diagonal_lstm.cases import arguments, run

triton = pytest.importorskip("triton")
TOP = Path(__file__).parents[4]
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
MAPS = [(50, 50), (25, 25), (12, 12), (6, 6), (64, 3), (1, 9), (9, 1), (112, 20)]


def test_triton_tests_pass_in_the_interpreter(rounds):
    """The tests run in a new process, because Triton reads the variable when it is imported."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/bench/kernels/triton_interpreter_cases.py",
    ]
    command += ["--rounds", str(rounds)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(TOP)}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_triton_on_a_cpu_is_refused(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=r"'triton' takes fp32 and bf16 on CUDA, not torch.float32 on cpu"):
        resolve_implementation("cpu", torch.float32, "triton")
    with pytest.raises(ValueError, match=r"not torch.float64 on cuda"):
        resolve_implementation("cuda", torch.float64, "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert resolve_implementation("cpu", torch.float32, "triton") == "triton"


@pytest.fixture
def products(request):
    """Return the dtype for which `triton` multiplies in this way."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if request.param == "tf32" else "highest")
    yield request.param, torch.bfloat16 if request.param == "bf16" else torch.float32
    torch.set_float32_matmul_precision(before)


def on_device(inputs, dtype):
    return [x.detach().to("cuda", dtype).requires_grad_() for x in inputs]


@on_gpu
@pytest.mark.parametrize("products", PRODUCTS, indirect=True)
@pytest.mark.parametrize(("m", "n"), MAPS)
def test_triton_error_on_a_gpu_is_small(products, m, n):
    name, dtype = products
    if m > 64 and name != "bf16":
        pytest.skip("an SM has no room for it: another implementation takes over")
    inputs = arguments(m, n, 32, channels=32, batch=3, p=2)
    # otherwise another implementation would be tested
    assert not describe_triton_problem(torch.device("cuda", 0), dtype, m, n, 32, 32, 2)
    exact = run("packed", inputs)
    for got, expected in zip(run("triton", on_device(inputs, dtype)), exact, strict=True):
        assert got.isfinite().all()
        assert relative_error(got.cpu(), expected) < PRODUCTS[name]


@on_gpu
@pytest.mark.parametrize("products", PRODUCTS, indirect=True)
@pytest.mark.parametrize(
    ("m", "n", "t", "p", "batch"), [(50, 50, 32, 2, 128), (25, 13, 20, 5, 33), (6, 6, 16, 16, 300)]
)
def test_triton_is_deterministic_on_a_gpu(products, m, n, t, p, batch):
    inputs = on_device(arguments(m, n, t, channels=32, batch=batch, p=p, dtype=torch.float32), products[1])
    first = run("triton", inputs)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, run("triton", inputs), strict=True))


@on_gpu
@pytest.mark.parametrize("products", PRODUCTS, indirect=True)
def test_image_on_a_gpu_does_not_depend_on_other_images(products):
    inputs = [x.detach() for x in on_device(arguments(25, 25, 32, channels=32, batch=300, p=2), products[1])]
    moved = [inputs[0].clone(), *inputs[1:]]
    moved[0][211] += 1
    changed = diagonal_lstm(*moved[:4], "triton", moved[4]) != diagonal_lstm(*inputs[:4], "triton", inputs[4])
    assert changed.flatten(2).any(2).any(0).nonzero().flatten().tolist() == [211]


@on_gpu
@pytest.mark.parametrize("products", PRODUCTS, indirect=True)
def test_cuda_graph_captures_both_passes(products):
    inputs = on_device(arguments(25, 25, 32, channels=32, batch=8, p=2), products[1])

    def step():
        out = diagonal_lstm(*inputs[:4], "triton", inputs[4])
        return out, *torch.autograd.grad(out.float().square().sum(), inputs)

    expected = [x.detach().clone() for x in step()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for _ in range(2):
        for x in captured:
            x.detach().zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(captured, expected, strict=True))


@on_gpu
def test_triton_compiles_to_one_graph_on_a_gpu():
    inputs = on_device(arguments(12, 12, 32, channels=32, batch=8, p=2), torch.float32)

    def step(*inputs):
        return (2 * diagonal_lstm(*inputs[:4], None, inputs[4])).square().sum()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(step(*inputs), inputs)
    for a, b in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
        assert torch.equal(a, b)
