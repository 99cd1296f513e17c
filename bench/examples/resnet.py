"""AttentionRNN in a ResNet-18 of torchvision. `python -m bench.examples.resnet` trains it for three steps.

After each stage the features are multiplied by a map of their own size, as in ARNN §4.2.
"""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from bench.attention import AttentionRNN


class Attend(nn.Module):
    """A stage, followed by attention over its features. `mask` is the last map, (B, 1, H, W) in 0 … 1."""

    def __init__(self, stage: nn.Module, channels: int) -> None:
        super().__init__()
        self.stage, self.score = stage, AttentionRNN(channels, hidden=16)
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the stage, multiplied by the map."""
        features = self.stage(x)
        self.mask = self.score(features).sigmoid()
        attended: Tensor = features * self.mask
        return attended


def attentive_resnet(classes: int = 10) -> nn.Module:
    """Return a ResNet-18 with attention after each of its four stages: images (B, 3, H, W) → logits (B, classes)."""
    network: nn.Module = resnet18(num_classes=classes)
    for stage, channels in ((1, 64), (2, 128), (3, 256), (4, 512)):
        setattr(network, f"layer{stage}", Attend(getattr(network, f"layer{stage}"), channels))
    return network


if __name__ == "__main__":
    torch.manual_seed(0)
    network, images, label = attentive_resnet(), torch.rand(4, 3, 96, 96), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for step in range(3):
        loss = nn.functional.cross_entropy(network(images), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {float(loss.detach()):.3f}")
    for stage in range(1, 5):
        mask = getattr(network, f"layer{stage}").mask.detach()
        print(
            f"after stage {stage}: a map of {tuple(mask.shape[2:])}, {float(mask.min()):.2f} … {float(mask.max()):.2f}"
        )
