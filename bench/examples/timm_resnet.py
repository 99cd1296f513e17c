"""Where does a ResNet from timm look? Train it for a minute, test it, and measure its saliency maps.

    python -m bench.examples.timm_resnet [FOLDER or variant, mini] [seconds of training, 60] [--pretrained]

The network is not one of bench. All that bench needs is images and queries in, logits and, if there is one, a map out.
Needs timm and Captum (pip install timm captum).

A step asks all questions about its images. The features of an image are computed once, and each question weights their
positions. After a minute on one core, 98.8 % of the answers on `mini` are right (2,296 steps), and 89.5 % on a small
`mref` (529 steps; `mnistref generate --variant mref --digits mnist5k --train 8000 --val 1000 --test 2000`). A network
that ignores the question gets 52.5 % and 42.3 % right.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import bench
import mnistref
from bench.data.question_blind import question_blind_accuracy

METHODS = ("attention", "gradient", "gradcam", "uniform")
EXPLAINED = 100
"""Number of test questions whose maps are measured."""
IMAGES = 16
"""Images of a step."""
RATE = 3e-3
"""Highest learning rate. It rises during the first tenth of the time and falls during the second half."""


class QueriedResNet(nn.Module):
    """The first two stages of a ResNet-10 of timm, and a map that depends on the query.

    Without trained weights, the network has half of the usual channels, because it then learns more in a minute.

    Args:
        classes: number of answers.
        queries: number of queries.
        pretrained: whether to start from weights that timm downloads.
    """

    def __init__(self, classes: int, queries: int, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        narrow: dict[str, Any] = {} if pretrained else {"channels": (32, 64, 128, 256), "stem_width": 16}
        resnet: Any = timm.create_model("resnet10t", pretrained=pretrained, **narrow)
        stem = (resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool)
        self.features = nn.Sequential(*stem, resnet.layer1, resnet.layer2)  # (B, 3, H, W) → (B, C, H / 8, W / 8)
        channels: int = resnet.feature_info[2]["num_chs"]
        self.key = nn.Linear(channels, channels)
        self.query = nn.Embedding(queries, channels)
        self.head = nn.Linear(channels, classes)

    def answer(self, features: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (T, classes) and the maps (T, h, w) for features (T, C, h, w) and queries (T,)."""
        places = features.flatten(2).transpose(1, 2)  # (T, h · w, C)
        scores = torch.einsum("tpc,tc->tp", self.key(places), self.query(query)) / places.shape[2] ** 0.5
        weights = scores.softmax(1)
        logits: Tensor = self.head(torch.einsum("tp,tpc->tc", weights, places))
        return logits, weights.unflatten(1, features.shape[2:])

    def forward(self, images: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the maps for images (B, 3, H, W) and queries (B,)."""
        return self.answer(self.features(images), query)


def steps(data: mnistref.MnistRef, images: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield random images with all their questions, without end.

    Args:
        data: the questions, ordered by image.
        images: B, the number of images.
        seed: seed of the order.

    Yields:
        Images (B, 3, H, W) in 0 … 1; and for T questions the number of the image in the step, the query, and the label.
    """
    rng = np.random.default_rng(seed)
    questions = data.triples
    known, first, count = np.unique(questions.image, return_index=True, return_counts=True)
    while True:
        order = rng.permutation(len(known))
        for start in range(0, len(order) - images + 1, images):
            chosen = order[start : start + images]
            pixels = torch.stack([data.read_image(image)[0] for image in known[chosen].tolist()])
            asked = np.concatenate([np.arange(first[k], first[k] + count[k]) for k in chosen])
            owner = np.repeat(np.arange(images), count[chosen])
            columns = (owner, questions.query[asked], questions.label[asked])
            index, query, label = (torch.from_numpy(column) for column in columns)
            yield pixels.float() / 255, index, query, label


def train(network: QueriedResNet, data: mnistref.MnistRef, seconds: float) -> int:
    """Train a network on all questions of a data set for some seconds, and return the number of steps."""
    network.to(memory_format=torch.channels_last).train()  # faster on CPUs
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    start = time.monotonic()
    for step, (images, index, query, label) in enumerate(steps(data, IMAGES)):
        spent = (time.monotonic() - start) / seconds
        if spent >= 1 and step:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * max(0.02, min(1, spent / 0.1, (1 - spent) / 0.5))
        features = network.features(images.contiguous(memory_format=torch.channels_last))
        logits, _ = network.answer(features[index], query)
        loss = nn.functional.cross_entropy(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def main(name: str = "mini", seconds: float = 60, pretrained: bool = False) -> None:
    """Train, test and explain the network."""
    torch.manual_seed(0)
    training, test = mnistref.load(name, split="train", queries="all"), mnistref.load(name, split="test")
    network = QueriedResNet(test.variant.classes, test.variant.queries, pretrained)
    print(f"{train(network, training, seconds)} steps")
    accuracy = bench.evaluate(network, test).measures["accuracy"]
    blind = question_blind_accuracy(test.folder)
    print(f"accuracy {100 * accuracy:.1f} %", f"(without the question {100 * blind:.1f} %)" if blind else "")
    for method in METHODS:
        found = bench.saliency(network.eval(), test[:EXPLAINED], method, layer=network.features[-1]).measures
        names = ("mask_correctness", "pointing", "average_precision", "iou_otsu")
        print(f"{method:9}", *(f"{name} {found[name]:.3f}" for name in names), sep="  ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="mini", help="folder of a data set, or name of a variant")
    parser.add_argument("seconds", nargs="?", type=float, default=60, help="seconds of training")
    parser.add_argument("--pretrained", action="store_true", help="start from weights that timm downloads")
    given = parser.parse_args()
    main(given.name, given.seconds, given.pretrained)
