"""Whole numbers of any type, and other values."""

import numpy as np
import pytest
import torch

from mnistref.common.errors import UsageProblemError
from mnistref.common.whole_number import whole_number


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_whole_numbers_of_any_type_become_int(value):
    assert type(whole_number("seed", value)) is int
    assert whole_number("seed", value) == 3


@pytest.mark.parametrize("value", [3.0, True, np.bool_(True), "3", None, np.float64(3)])
def test_other_values_are_refused(value):
    with pytest.raises(UsageProblemError, match=r"^seed .*: give a whole number$"):
        whole_number("seed", value)
