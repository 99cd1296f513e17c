"""Check the machine, run the self-tests, and measure the errors of kernels: parts of `tests.perf.gpu_session`.

python -m tests.perf.gpu_checks {machine, selftest ROWS, errors PRODUCTS:ROWS …} [--units 32] [--bare]
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

from mnistref.common.version import versions_of
from tests.perf import guard
from tests.perf.interpreting import mend
from tests.perf.places import MEMORY

PACKAGES = ("h5py", "mlxtend", "numba", "numpy", "pandas", "scipy", "torch", "torchvision", "triton")


def tell(work: Callable[[], dict[str, Any]], **labels: Any) -> None:
    """Print a measurement as a line of JSON: its labels, and its results or the reason of its failure."""
    started = time.perf_counter()
    try:
        found = work()
    except Exception as error:  # other measurements may succeed
        found = {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
    print(json.dumps({**labels, **found, "took": round(time.perf_counter() - started, 2)}), flush=True)


def machine() -> None:
    """Print the properties of the machine and its packages, the fastest queries first."""
    tell(lambda: {"python": platform.python_version(), "cores": os.cpu_count(), "packages": versions_of(PACKAGES)})
    tell(lambda: {"nvidia_smi": subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=20).stdout})
    tell(lambda: {"memory_folder_free_gb": round(shutil.disk_usage(MEMORY).free / 1e9, 1)})
    tell(_torch)
    tell(_numba)


def _torch() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {"cuda": False, "torch": torch.__version__}
    about = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info()
    return {
        "cuda": True,
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "device": about.name,
        "multiprocessors": about.multi_processor_count,
        "free_gb": round(free / 1e9, 1),
        "total_gb": round(total / 1e9, 1),
    }


def _numba() -> dict[str, Any]:
    import numba

    from mnistref.common.numba_jit import COMPILED

    return {"numba": numba.__version__, "compiled": bool(COMPILED)}


def selftest(m: int) -> None:
    """Print whether the self-test of `triton` in bf16 passes for m rows; it compiles all kernels of that size."""
    import torch

    from bench.kernels import diagonal_lstm as package

    device = _device()

    def work() -> dict[str, Any]:
        problem = package.describe_triton_problem(device, torch.bfloat16, m, m, 32, 32, 2)
        return {"works": not problem, "problem": problem}

    tell(work, selftest="bf16", m=m, device=str(device))


def errors(which: list[str], units: int, bare: bool) -> None:
    """Print the relative errors of results and gradients to fp64, and whether a second call returns the same bits.

    Args:
        which: Products and rows of the map, such as "bf16:50".
        units: Channels and units of the layer.
        bare: Use a square map of m × m, for the slow sanitizer.
    """
    for text in which:
        products, _, m = text.partition(":")
        tell(lambda products=products, m=int(m): _errors(products, m, units, bare), products=products, m=int(m))


def _errors(products: str, m: int, units: int, bare: bool) -> dict[str, Any]:
    import torch

    from bench.kernels import diagonal_lstm as package
    from bench.kernels.diagonal_lstm import triton_op

    def with_gradients(call: Callable[..., Any], inputs: list[Any]) -> list[Any]:
        out = call(*inputs)
        return [out, *torch.autograd.grad(out, inputs, torch.ones_like(out))]

    def launched(*inputs: Any) -> Any:
        return triton_op.operator(*inputs, products, True)[0]

    inputs = package.example(2, m, m if bare else min(m, 20), units, units, 2)
    exact = with_gradients(package.IMPLEMENTATIONS["packed"], [x.clone().requires_grad_() for x in inputs])
    dtype = torch.bfloat16 if products == "bf16" else torch.float32
    given = [x.to(_device(), dtype) for x in inputs]
    given[1] = inputs[1].to(_device(), torch.float32)  # under autocast the bias stays in fp32
    given = [x.requires_grad_() for x in given]
    found, again = with_gradients(launched, given), with_gradients(launched, given)
    worst = [float(f"{package.relative_error(a.cpu(), b):.2e}") for a, b in zip(found, exact, strict=True)]
    same = all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    return {"errors": worst, "bound": package.PRODUCTS[products], "same_bits": same}


def _device() -> Any:
    import torch

    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("machine", "selftest", "errors"), help="what to check")
    parser.add_argument("which", nargs="*", help="rows of the map, or products and rows such as bf16:50")
    parser.add_argument("--units", type=int, default=32, help="channels and units of the layer (32)")
    parser.add_argument("--bare", action="store_true", help="use a square map, for a sanitizer")
    asked = parser.parse_args()
    guard.end_with_the_session()
    if os.environ.get("TRITON_INTERPRET") == "1" and asked.part != "machine":
        mend()
    if asked.part == "machine":
        machine()
    elif asked.part == "selftest":
        selftest(*map(int, asked.which))
    else:
        errors(asked.which, asked.units, asked.bare)


if __name__ == "__main__":
    main()
