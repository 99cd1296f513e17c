"""The choice of the device."""

import pytest
import torch

from bench import compute
from mnistref.common.errors import UsageProblemError


def test_missing_cuda_is_a_usage_error():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageProblemError, match="no CUDA device"):
        compute.resolve_compute("cuda")
    assert compute.resolve_compute("auto").device.type == "cpu"
