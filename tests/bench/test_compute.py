"""Devices and settings of computation."""

import pytest
import torch

from bench import compute
from bench.compute import ComputeConfig, explain_nondeterminism
from mnistref.common.errors import UsageProblemError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_missing_cuda_is_a_usage_error():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageProblemError, match="no CUDA device"):
        compute.resolve_compute("cuda")
    assert compute.resolve_compute("auto").device.type == "cpu"


@pytest.mark.parametrize(
    ("computing", "tuned", "expected"),
    [
        (ComputeConfig(CUDA), True, True),
        (ComputeConfig(CUDA), False, False),
        (ComputeConfig(CUDA, deterministic=True), True, False),
        (ComputeConfig(CPU), True, False),
    ],
)
def test_cudnn_benchmark_is_on_for_fixed_shapes(computing, tuned, expected, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cudnn.benchmark
    with computing.backend_flags(tuned):
        assert torch.backends.cudnn.benchmark == expected
        with computing.backend_flags(tuned=not tuned):
            pass
        assert torch.backends.cudnn.benchmark == expected
    assert torch.backends.cudnn.benchmark == before


@pytest.mark.parametrize("before", [None, "warn", "error"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_determinism_is_switched_on_for_the_block_only(deterministic, before, monkeypatch):
    """A user's own setting stays as it is, with warnings or with errors."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(before is not None, warn_only=before == "warn")
    try:
        kept = torch.get_deterministic_debug_mode()
        with ComputeConfig(CPU, deterministic=deterministic).backend_flags():
            assert torch.are_deterministic_algorithms_enabled() == (deterministic or before is not None)
            assert torch.get_deterministic_debug_mode() == (kept or 2 * deterministic)
        assert torch.get_deterministic_debug_mode() == kept
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("deterministic", [False, True])
def test_determinism_that_changes_nothing_imports_no_compiler(deterministic, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", None)
    with ComputeConfig(CPU, deterministic=deterministic).backend_flags():
        pass


@pytest.mark.parametrize(("threads", "text"), [(1, "device: cpu (1 thread)"), (2, "device: cpu (2 threads)")])
def test_description_counts_the_threads(threads, text, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert ComputeConfig(CPU).description == text


@pytest.mark.parametrize(
    ("features", "precision", "is_warned"),
    [
        ({"avx2": True, "avx512bf16": False}, "bf16", True),
        ({"avx2": True, "avx512bf16": False}, "fp32", False),
        ({"avx512bf16": True}, "bf16", False),
        ({"amx-bf16": True}, "bf16", False),
        ({"neon": True, "bf16": True}, "bf16", False),
    ],
)
def test_description_says_that_bf16_is_slow_without_instructions_for_it(features, precision, is_warned, monkeypatch):
    monkeypatch.setattr(compute.binding, "get_host_cpu_features", lambda: features)
    assert ("fp32 is faster" in ComputeConfig(CPU, precision).description) == is_warned


def test_nondeterministic_operation_is_named():
    said = "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you set 'torch.use_det…"
    expected = "--deterministic: PyTorch's grid_sampler_2d_backward_cuda is not deterministic on CUDA; omit the option"
    assert explain_nondeterminism(RuntimeError(said)).startswith(expected)
    assert explain_nondeterminism(RuntimeError("out of memory")) is None
