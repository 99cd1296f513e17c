"""Where and how a network is computed: device, precision, and whether a step is issued or replayed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mnistref.common.errors import UsageProblemError


@dataclass(frozen=True)
class ComputeConfig:
    """A device, and what it computes with.

    `precision`: "fp32" throughout; "tf32", the factors of products and convolutions of fp32 rounded to 10 bits of
    mantissa, on CUDA; or "bf16" by autocast. `capture`: "eager"; "graph", see `training.step.Step`, on CUDA; or "auto"
    until a run is configured, see `bench.training.capture`.
    `deterministic`: the same bits each time on CUDA too, or an error where an operation cannot; a CPU gives them so.
    """

    device: torch.device
    precision: str = "fp32"
    capture: str = "eager"
    deterministic: bool = False

    @contextmanager
    def backend_flags(self, tuned: bool = False) -> Iterator[None]:
        """While it is on, products of fp32 are rounded to tf32 where that is the precision, and never else; and where
        the same bits are wanted, operations that could give others are refused.

        PyTorch's own default rounds in convolutions and not in products. The settings are the process's, and are given
        back.

        `tuned`: whether cuDNN tries its algorithms on each new shape of a convolution and keeps the fastest, which
        pays where shapes stay. Never where the same bits are wanted: another algorithm may win the next time.
        """
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS reads when it begins
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        determined = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(self.deterministic or determined[0], warn_only=determined[1])
        tunes = torch.backends.cudnn.benchmark
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = tuned and not self.deterministic
        rounded = self.precision == "tf32"
        torch.set_float32_matmul_precision("high" if rounded else "highest")
        torch.backends.cudnn.allow_tf32 = rounded
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]
            torch.backends.cudnn.benchmark = tunes
            torch.use_deterministic_algorithms(determined[0], warn_only=determined[1])

    def autocast(self) -> torch.autocast:
        """Autocast to bf16 for a forward pass, where that is the precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def device_name(self) -> str:
        """As records name it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    @property
    def described(self) -> str:
        """The device, for people."""
        threads = f" ({torch.get_num_threads()} threads)" if self.device.type == "cpu" else ""
        return f"device: {self.device_name}{threads}"


def explain_nondeterminism(error: BaseException) -> str | None:
    """Return one line for the error of an operation that `deterministic` refuses; None for any other error.

    Of the operations that bench uses on CUDA these are the gradients of `grid_sample` and of adaptive average pooling,
    both of `stn`, and in some versions of PyTorch that of the padding `reflect`.
    """
    found = re.match(r"(.+?) does not have a deterministic implementation", str(error))
    if not found:
        return None
    name = found[1].strip()
    return f"--deterministic: PyTorch gives {name} other bits each time on CUDA; leave the option out for this network"


def resolve_compute(
    device: str = "auto", precision: str = "fp32", capture: str = "eager", deterministic: bool = False
) -> ComputeConfig:
    """What a user asks for; `auto` is CUDA where there is one. A usage error where the device cannot compute so."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageProblemError("--device cuda: no CUDA device is available here; give auto or cpu")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if kind == "cpu" and (precision == "tf32" or capture == "graph"):
        option = "--precision tf32" if precision == "tf32" else "--capture graph"
        raise UsageProblemError(f"{option}: only CUDA devices have it, and this would run on the CPU; leave it out")
    # The import takes two seconds, which commands that only read records do not need.
    from bench.kernels.diagonal_lstm import VARIABLE, requested_implementation

    try:
        requested_implementation(kind)
    except ValueError as error:
        raise UsageProblemError(f"{VARIABLE}: {error}") from error
    return ComputeConfig(torch.device(kind), precision, "eager" if kind == "cpu" else capture, deterministic)
