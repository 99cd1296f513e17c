"""The Triton kernels, compiled for an H100 without a GPU: they compile without spills and fit into shared memory.

Each size takes seconds, so only few are tested. `python -m tests.perf.cross_compile` prints a table of more sizes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton")
from bench.kernels.diagonal_lstm import triton_op  # noqa: E402
from tests.helpers import long_form  # noqa: E402

TOP = Path(__file__).parents[4]
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
NEEDED = [  # m, C, t, p: bytes of shared memory of `backward` in bf16, as compiled by Triton 3.6 and 3.8
    (112, 128, 32, 2, 263_168),
    (112, 64, 32, 2, 197_632),
    (112, 32, 32, 32, 165_888),
    (112, 512, 16, 2, 532_992),
    (112, 256, 16, 2, 287_232),
    (112, 16, 64, 2, 317_440),
    (56, 128, 32, 2, 158_720),
    (50, 32, 32, 2, 97_280),
    (50, 32, 32, 128, 118_784),
    (50, 512, 16, 2, 320_000),
    (50, 256, 16, 2, 172_544),
    (25, 32, 32, 2, 76_800),
    (25, 16, 64, 2, 196_608),
    (12, 512, 16, 32, 184_320),
    (12, 32, 32, 2, 64_512),
]


@pytest.mark.parametrize(("m", "channels", "t", "p", "needed"), NEEDED)
def test_triton_refuses_sizes_beyond_shared_memory(m, channels, t, p, needed):
    assert triton_op.supports_sizes(m, m, channels, t, p, "bf16") == (needed <= 232_448)
    assert triton_op.shared_bytes(triton_op.tiles(m, channels, t, p)) >= min(needed, 232_449)


@pytest.mark.parametrize("products", long_form(["bf16", "tf32"], ["tf32"]))
def test_triton_kernels_compile_for_an_h100_and_fit(products, tmp_path):
    if not (TOOLS / "ptxas").exists():
        pytest.skip("this Triton has no ptxas")
    command = [sys.executable, "-m", "tests.perf.cross_compile", "--rows", "12", "--products", products]
    environment = {**os.environ, "PYTHONPATH": str(TOP), "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    _, head, *rows = done.stdout.splitlines()
    found = {row.split()[0]: dict(zip(head.split(), row.split(), strict=True)) for row in rows}
    assert found.keys() == {"forward", "backward", "weight_gradients"}
    bound = triton_op.shared_bytes(triton_op.tiles(12, 32, 32, 2)) if products == "bf16" else triton_op.SHARED_BYTES
    for name, row in found.items():
        assert int(row["spilled"]) == 0, name
        assert 0 < int(row["registers"]) <= 255, name
        assert int(row["tensor"]) > 0, name
        assert int(row["shared"]) <= (bound if name != "weight_gradients" else triton_op.SHARED_BYTES), name
