"""Where does a ResNet from timm look? Train it for a minute, test it, and measure its saliency maps.

    python -m bench.examples.timm_resnet [FOLDER or variant, mini] [seconds of training, 60]

After a minute on two cores (182 steps on mini), the network answers like one that ignores the question (52.0 %). Its
maps are hardly better than the uniform one. Train it longer for better maps. The network is not one of bench. All that
bench needs is images and queries in, logits out. Needs timm and Captum (pip install timm captum).
"""

import itertools
import sys
import time

import torch
from torch import Tensor, nn

import bench
import mnistref

METHODS = ("gradient", "gradcam", "uniform")
EXPLAINED = 100
"""Number of test questions whose maps are measured."""


class QueriedResNet(nn.Module):
    """A ResNet-10 of timm whose last features are scaled by the query: logits (B, classes)."""

    def __init__(self, classes: int, queries: int) -> None:
        super().__init__()
        import timm

        self.features: nn.Module = timm.create_model("resnet10t", num_classes=0, global_pool="", pretrained=False)
        channels = 512
        self.scale = nn.Embedding(queries, channels)
        self.head = nn.Sequential(nn.Linear(channels, 64), nn.ReLU(), nn.Linear(64, classes))

    def forward(self, images: Tensor, query: Tensor) -> Tensor:
        """Return the logits for images (B, 3, H, W) and queries (B,)."""
        x = self.features(images) * self.scale(query).sigmoid()[:, :, None, None]
        logits: Tensor = self.head(x.amax(dim=(2, 3)))
        return logits


def train(network: nn.Module, data: mnistref.MnistRef, seconds: float, batch: int = 64) -> int:
    """Train a network on a data set for some seconds, and return the number of steps."""
    loader = torch.utils.data.DataLoader(data, batch, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    end, steps = time.monotonic() + seconds, 0
    network.train()
    for item in itertools.chain.from_iterable(itertools.repeat(loader)):
        images = item["image"].as_subclass(Tensor).float() / 255
        loss = nn.functional.cross_entropy(network(images, item["query"]), item["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if time.monotonic() > end:
            break
    return steps


def main(name: str = "mini", seconds: float = 60) -> None:
    """Train, test and explain the network."""
    torch.manual_seed(0)
    training, test = mnistref.load(name, split="train", queries="all"), mnistref.load(name, split="test")
    network = QueriedResNet(test.variant.classes, test.variant.queries)
    print(f"{train(network, training, seconds)} steps")
    accuracy = bench.evaluate(network, test).measures["accuracy"]
    print(f"accuracy {100 * accuracy:.1f} %")
    for method in METHODS:
        found = bench.saliency(network.eval(), test[:EXPLAINED], method).measures
        names = ("mask_correctness", "pointing", "average_precision", "iou_otsu")
        print(f"{method:9}", *(f"{name} {found[name]:.3f}" for name in names), sep="  ")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "mini", float(sys.argv[2]) if len(sys.argv) > 2 else 60)
