"""Compile the Triton kernels of the diagonal LSTM without a GPU, and print the resources that they use.

    python -m tests.perf.cross_compile [--kernels forward backward] [--products bf16 tf32] [--rows 50 25 12]
        [--channels 32] [--units 32] [--shown 2] [--warps N] [--stages N] [--capability 90]

Neither a GPU nor a driver is needed: Triton includes `ptxas` and `cuobjdump`. A row of the table is one kernel at one
size:

- registers per thread, bytes that a thread spills (stores and loads), bytes of shared memory per program;
- in the longest loop: instructions per warp, how many of them use tensor cores, and barriers and waits.
"""

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

os.environ.pop("TRITON_INTERPRET", None)  # Triton reads it when it is imported

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bench.kernels.diagonal_lstm import triton_op
from mnistref.common.text_table import table

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
WHERE = {"forward": "triton_kernels", "backward": "triton_kernels", "weight_gradients": "triton_weights"}
"""The module of each kernel."""
HEAD = [
    *("kernel", "products", "rows", "C", "t", "p", "warps"),
    *("registers", "spilled", "shared", "loop", "tensor", "waits"),
]


class Size(NamedTuple):
    """The size that a kernel is compiled for: m rows of the map, C channels, t units, p rows of the readout."""

    m: int
    channels: int
    t: int
    p: int


def compiled(name: str, products: str, size: Size, capability: int = 90, **options: int) -> Any:
    """Return the compiled kernel that a launch on a GPU uses; `options` (num_warps …) replace those of the launch."""
    module = importlib.import_module(f"bench.kernels.diagonal_lstm.{WHERE[name]}")
    kernel, tile = getattr(module, name), triton_op.tiles(*size)
    constants: dict[str, Any] = {"C": size.channels, "t": size.t, "p": size.p, "KEEP": True, "PRODUCTS": products}
    constants |= {"EMULATED": False, "ROWS": tile.rows, "INPUTS": tile.inputs, "UNITS": tile.units}
    constants |= {"SHOWN": tile.shown, "CELLS": triton_op.cells_at_once(tile, products)}
    types = {"batch": "i32", "m": "i32", "n": "i32", "bias": "*fp32", "d_bias": "*fp32", "parts": "*fp32"}
    element = "*bf16" if products == "bf16" else "*fp32"
    signature = {n: "constexpr" if n in constants else types.get(n, element) for n in kernel.arg_names}
    given = {(k,): constants[n] for k, n in enumerate(kernel.arg_names) if n in constants}
    aligned = {(k,): [["tt.divisibility", 16]] for k, n in enumerate(kernel.arg_names) if signature[n][0] == "*"}
    source = ASTSource(kernel, signature, given, aligned)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options=launch(name, products, size) | options)


def launch(name: str, products: str, size: Size) -> dict[str, int]:
    """Return the options of the launch of a kernel."""
    tile = triton_op.tiles(*size)
    if name == "weight_gradients":
        return {"num_warps": triton_op.warps_of_weights(tile, products)}
    return {"num_warps": triton_op.warps(tile), "num_stages": triton_op.stages(products)}


def _run(tool: str, *arguments: str | Path) -> str:
    done = subprocess.run([TOOLS / tool, *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def usage(kernel: Any) -> list[int]:
    """Return registers, spilled bytes and shared memory, and the instructions, tensor-core instructions and waits of
    the longest loop.
    """
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        ptx.write_text(kernel.asm["ptx"])
        cubin.write_bytes(kernel.asm["cubin"])
        target = re.search(r"^\.target (\w+)", kernel.asm["ptx"], re.MULTILINE)
        assert target
        log = _run("ptxas", "-v", f"--gpu-name={target[1]}", ptx, "-o", os.devnull)
        code = _run("cuobjdump", "-sass", cubin)
    registers = int(re.findall(r"Used (\d+) registers", log)[-1])
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", log)))
    loop = _longest_loop(code)
    return [
        *(registers, spilled, kernel.metadata.shared, len(loop)),
        sum("MMA" in line for line in loop),
        sum(bool(re.search(r"BAR\.SYNC|DEPBAR|SYNCS", line)) for line in loop),
    ]


def _longest_loop(code: str) -> list[str]:
    """Return the instructions of the longest loop: those from the target of a backward branch to the branch."""
    lines = re.findall(r"/\*([0-9a-f]{4,})\*/ +([^;]+);", code)
    places = [int(place, 16) for place, _ in lines]
    longest: list[str] = []
    for k, (_, text) in enumerate(lines):
        branch = re.search(r"\bBRA\b.* (?:0x)([0-9a-f]+)", text)
        if branch and int(branch[1], 16) < places[k]:
            inside = [text for _, text in lines[places.index(int(branch[1], 16)) : k + 1]]
            longest = max(longest, inside, key=len)
    return longest


def rows(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield a row of the table for each kernel and size; print what cannot be compiled to stderr."""
    for products, m, name in product(options.products, options.rows, options.kernels):
        size = Size(m, options.channels, options.units, options.shown)
        changed = {"num_warps": options.warps, "num_stages": options.stages}
        given = launch(name, products, size) | {k: v for k, v in changed.items() if v}
        try:
            found = usage(compiled(name, products, size, options.capability, **given))
        except Exception as error:  # other kernels may compile
            print(f"{name} {products} {size}: {type(error).__name__}: {error}"[:500], file=sys.stderr)
            continue
        yield [name, products, *map(str, (*size, given["num_warps"], *found))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kernels", nargs="+", choices=list(WHERE), default=list(WHERE), help="kernels to compile (default: all)"
    )
    parser.add_argument(
        "--products", nargs="+", default=["bf16", "tf32", "bf16x6"], help="kinds of matrix products (default: all)"
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 25, 12], help="rows of the map (50 25 12)")
    parser.add_argument("--channels", type=int, default=32, help="channels of the features (32)")
    parser.add_argument("--units", type=int, default=32, help="units of the LSTM (32)")
    parser.add_argument("--shown", type=int, default=2, help="rows of the readout (2)")
    parser.add_argument("--warps", type=int, help="warps per program (default: those of the launch)")
    parser.add_argument("--stages", type=int, help="pipeline stages (default: those of the launch)")
    parser.add_argument("--capability", type=int, default=90, help="compute capability of the GPU (90)")
    options = parser.parse_args()
    print(f"Triton {triton.__version__}")
    print(table([HEAD, *rows(options)]))


if __name__ == "__main__":
    main()
