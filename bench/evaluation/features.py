"""Features of images: the input of the last linear layer of a network."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.inference_mode()
def compute_features(model: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Return the input of the linear layer that a network calls last, for each image, f4 (N, D).

    Args:
        model: a network of (images, query), on the device of the images. It is set to evaluation mode.
        batches: images f4 (B, 3, H, W) in 0 … 1. The query of each is 0.

    Raises:
        ValueError: the network calls no linear layer, or not one vector for each image.
    """
    inputs: list[Tensor] = []

    def remember(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs[:] = arguments[:1]

    hooks = [module.register_forward_pre_hook(remember) for module in model.modules() if isinstance(module, nn.Linear)]
    model.eval()
    found = []
    try:
        for images in batches:
            inputs.clear()
            model(images, torch.zeros(len(images), dtype=torch.long, device=images.device))
            if not inputs or inputs[0].numel() % len(images) or inputs[0].flatten(0, -2).shape[0] != len(images):
                raise ValueError("the network has no linear layer that takes one vector for each image")
            found.append(inputs[0].flatten(1).float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(found)
