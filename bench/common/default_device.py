"""Restores PyTorch's default device."""

import torch


def restore_default_device(device: torch.device) -> None:
    """Make `device` the default device again.

    `torch.set_default_device` puts a mode on PyTorch's stack, even for the device that is the default anyway. Compiled
    kernels are not used under a mode, so none is left without need.

    Args:
        device: what `torch.get_default_device` returned before.
    """
    torch.set_default_device(None)
    if torch.get_default_device() != device:
        torch.set_default_device(device)
