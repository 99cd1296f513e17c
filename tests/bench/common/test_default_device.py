"""The default device is restored without a mode that would slow later work down."""

import pytest
import torch

from bench.common.default_device import restore_default_device
from bench.kernels import transforms


@pytest.fixture(autouse=True)
def no_default_device():
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("changed", ["meta", "cpu", None])
def test_restored_default_device_leaves_no_mode(changed):
    before = torch.get_default_device()
    torch.set_default_device(changed)
    restore_default_device(before)
    assert torch.get_default_device() == before
    assert not transforms.watched()


def test_a_default_device_that_was_set_is_set_again():
    torch.set_default_device("meta")
    before = torch.get_default_device()
    torch.set_default_device("cpu")
    restore_default_device(before)
    assert torch.zeros(1).device.type == "meta"
