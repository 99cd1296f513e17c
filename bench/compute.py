"""How a network is computed: device, precision, and CUDA graphs."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from llvmlite import binding

from mnistref.common.errors import UsageProblemError

BF16_FEATURES = "avx512bf16", "amx-bf16", "bf16"
"""Features of a CPU, as named by LLVM, with instructions for bf16: of x86-64, and the last one of ARM."""


@dataclass(frozen=True)
class ComputeConfig:
    """A device and its settings.

    Attributes:
        device: the CPU or a CUDA device.
        precision: "fp32"; "tf32", which rounds the factors of fp32 matrix products and convolutions to 10 bits of
            mantissa, on CUDA only; or "bf16", by autocast.
        capture: "eager"; "graph", which records a training step as a CUDA graph, see `bench.training.step.Step`; or
            "auto" until `bench.training.capture_mode` decides for a run.
        deterministic: whether CUDA must give the same bits each time. An operation that cannot raises an error. A CPU
            is always deterministic.
    """

    device: torch.device
    precision: str = "fp32"
    capture: str = "eager"
    deterministic: bool = False

    @contextmanager
    def backend_flags(self, tuned: bool = False) -> Iterator[None]:
        """Set PyTorch's flags for tf32, cuDNN and determinism during the block, and restore them after it.

        The flags belong to the process. By default, PyTorch uses tf32 in convolutions but not in matrix products.

        Args:
            tuned: whether cuDNN times its algorithms for each new shape of a convolution and keeps the fastest. This
                helps if shapes are fixed. `deterministic` disables it, because timing may choose another algorithm
                each time.
        """
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is initialised
        matmul_before, cudnn_before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        benchmark_before = torch.backends.cudnn.benchmark
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        changes = self.deterministic and not torch.are_deterministic_algorithms_enabled()
        if changes:  # PyTorch's function imports its compiler, even if nothing changes
            torch.use_deterministic_algorithms(True, warn_only=warn_only)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = tuned and not self.deterministic
        uses_tf32 = self.precision == "tf32"
        torch.set_float32_matmul_precision("high" if uses_tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = uses_tf32
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul_before)
            torch.backends.cudnn.allow_tf32 = cudnn_before
            torch.backends.cudnn.benchmark = benchmark_before
            if changes:
                torch.use_deterministic_algorithms(False, warn_only=warn_only)

    def autocast(self) -> torch.autocast:
        """Return the autocast context of a forward pass, which is enabled for bf16 only."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def device_name(self) -> str:
        """The name of the device in records."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    @property
    def description(self) -> str:
        """The device, for a log message. It says so if bf16 is slower there than fp32."""
        if self.device.type != "cpu":
            return f"device: {self.device_name}"
        is_slow = self.precision == "bf16" and not computes_bf16(binding.get_host_cpu_features())
        note = "; it has no bf16 instructions, so fp32 is faster" if is_slow else ""
        return f"device: {self.device_name} ({describe_threads(torch.get_num_threads())}){note}"


def computes_bf16(features: Mapping[str, bool]) -> bool:
    """Return whether a CPU with these features, as named by LLVM, has instructions for bf16."""
    return any(features.get(name) for name in BF16_FEATURES)


def describe_threads(number: int) -> str:
    """Return a number of threads in words."""
    return "1 thread" if number == 1 else f"{number} threads"


def explain_nondeterminism(error: BaseException) -> str | None:
    """Return one line for the error of an operation that `deterministic` refuses; None for any other error.

    On CUDA, these operations of bench raise it: the gradients of `grid_sample` and of adaptive average pooling, both in
    `stn`, and in some versions of PyTorch the gradient of reflection padding.
    """
    match = re.match(r"(.+?) does not have a deterministic implementation", str(error))
    if not match:
        return None
    return (
        f"--deterministic: PyTorch's {match[1].strip()} is not deterministic on CUDA; omit the option for this network"
    )


def resolve_compute(
    device: str = "auto", precision: str = "fp32", capture: str = "eager", deterministic: bool = False
) -> ComputeConfig:
    """Return the configuration of the options of a command. "auto" is CUDA if a CUDA device is available.

    Raises:
        UsageProblemError: there is no CUDA device, the CPU does not support an option, or `BENCH_DIAGONAL_LSTM` names
            an implementation that cannot run on the device.
    """
    has_cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise UsageProblemError("--device cuda: no CUDA device is available; give auto or cpu")
    kind = "cuda" if has_cuda else "cpu"
    if kind == "cpu" and (precision == "tf32" or capture == "graph"):
        option = "--precision tf32" if precision == "tf32" else "--capture graph"
        raise UsageProblemError(f"{option}: only CUDA devices support it, and the device is the CPU; omit the option")
    from bench.kernels.diagonal_lstm import (  # takes two seconds, which reading records does not need
        VARIABLE,
        requested_implementation,
    )

    try:
        requested_implementation(kind)
    except ValueError as error:
        raise UsageProblemError(f"{VARIABLE}: {error}") from error
    return ComputeConfig(torch.device(kind), precision, "eager" if kind == "cpu" else capture, deterministic)
