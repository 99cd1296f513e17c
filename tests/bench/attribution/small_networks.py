"""A small network, questions about random images, and a function that sees one corner of an image."""

import torch

from bench.attribution.explained_network import ExplainedNetwork
from bench.data.split import Resident
from bench.model import create_model

IMAGES, SIZE, CLASSES = 6, 24, 5


def small_network() -> ExplainedNetwork:
    """Return a network with random weights whose answers use the image and the question."""
    torch.manual_seed(0)
    model = create_model("pan", classes=CLASSES, queries=4, size=(SIZE, SIZE), width=8).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model.head.classify.bias.zero_()
    return ExplainedNetwork(model, CLASSES)


def questions() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(IMAGES, 3, SIZE, SIZE, generator=generator), torch.arange(IMAGES) % 4


def split_of(images: torch.Tensor, query: torch.Tensor, label: torch.Tensor) -> Resident:
    """Return questions about images with two digits: digit 0 in the top rows, digit 1 below."""
    ink = torch.zeros(len(images), SIZE, SIZE, dtype=torch.uint8)
    ink[:, :6], ink[:, 6:9] = 1, 2
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    slot = torch.zeros(len(images), dtype=torch.long)
    return Resident(image=torch.arange(len(images)), slot=slot, query=query, label=label, images=pixels, instance=ink)


def brightness_in_a_corner(images, query):
    """Return logits whose first class sees the upper left quarter alone."""
    side = images.shape[-1] // 2
    seen = images[:, :, :side, :side].mean((1, 2, 3))
    return torch.stack([4 * seen, *[torch.full_like(seen, 2)] * 4], dim=1)


def classes_of(network, batch):
    return network.probabilities(batch.images, batch.query).argmax(1)
