"""The check of shapes: the sizes of its features, and memory."""

import pytest
from torch import nn

from bench.attention.mechanism import Mechanism
from bench.conformance.checks import check_mechanism, require_buildable
from bench.conformance.probe import UnfitError, UntestedError
from bench.conformance.shape_checks import require_shapes
from mnistref.variants import VARIANTS
from tests.bench.attention.user_modules import BODY, write_module


def of_sizes(largest: int, error: type[Exception]) -> Mechanism:
    """Return a mechanism that raises an error for features of more than `largest` pixels."""

    class Own(nn.Module):
        def __init__(self, channels, query_dim):
            super().__init__()
            self.score = nn.Conv2d(channels, 1, 1)

        def forward(self, x, query):
            if x.shape[2] > largest:
                raise error("large")
            return self.score(x)

    return Mechanism("own", "a class", "own.py", target=Own)


def test_a_run_on_small_images_needs_no_large_features():
    require_shapes(of_sizes(25, ValueError), canvas=48)
    require_shapes(of_sizes(112, ValueError))
    with pytest.raises(ValueError, match="large"):
        require_shapes(of_sizes(25, ValueError))


def test_a_lack_of_memory_is_no_wrong_shape():
    with pytest.raises(UntestedError, match=r"too little memory for features \(1, 32, 28, 28\)"):
        require_shapes(of_sizes(25, MemoryError))


def test_a_wrong_shape_is_named_with_the_features():
    mechanism = of_sizes(25, ValueError)
    mechanism.target.forward = lambda self, x, query: self.score(x)[:, :, 1:]
    with pytest.raises(UnfitError, match=r"returns shape .*for features \(1, 32, 25, 25\)"):
        require_shapes(mechanism)


def test_a_size_for_which_there_is_too_little_memory_is_not_tested(tmp_path):
    """Memory is short for features of more than 25 pixels, which a run on 48 pixels does not have."""
    shortage = 'raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory")'
    forward = f"if x.shape[2] > 25:\n            {shortage}\n        return score"
    path = write_module(tmp_path, BODY.format(init="pass", forward=forward))
    found = {finding.description: finding for finding in check_mechanism(f"{path}:Own")}
    (untested,) = (finding for name, finding in found.items() if name.endswith("returns the shapes of a slot"))
    assert (untested.ok, untested.reason) == (None, "there is too little memory for features (1, 32, 28, 28)")
    assert found["resumes from a checkpoint without a difference"].ok
    require_buildable(f"{path}:Own", VARIANTS["mini"])
