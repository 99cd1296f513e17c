"""Self-tests of compiled code: one warning, and plain operators."""

import warnings

import pytest
import torch

from bench.kernels import gate, pool
from bench.kernels.pool import pooled_relu
from bench.kernels.self_test import works


def test_broken_kernel_warns_once_and_plain_operators_run(monkeypatch):
    def fails():
        raise ImportError("no such library")

    with pytest.warns(RuntimeWarning, match=r"compiled gate does not work here \(ImportError: no such library\)"):
        assert not works("gate", fails)
    with pytest.warns(RuntimeWarning, match=r"compiled pooling does not work here \(its error is 1\)"):
        assert not works("pooling", lambda: "its error is 1")
    for room, attempt in ((pool, "_tried"), (gate, "_problem")):
        monkeypatch.setattr(room, attempt, lambda *_: "a reason")
        room.compiled_works.cache_clear()
    try:
        x = torch.randn(2, 8, 5, 7).contiguous(memory_format=torch.channels_last)
        with pytest.warns(RuntimeWarning, match="a reason") as said:
            found = pooled_relu(pooled_relu(x))
        assert len(said) == 1
        assert torch.equal(found, pool.pool_reference(pool.pool_reference(x)))
    finally:
        for room in (pool, gate):
            room.compiled_works.cache_clear()


def test_working_code_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert works("gate", lambda: "")


def test_self_test_runs_without_the_modes_of_the_caller():
    modes = []

    def attempt() -> str:
        modes.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")))
        return ""

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert works("gate", attempt)
    assert modes == [(True, False, False)]
