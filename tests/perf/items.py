"""Measure the times of items of `MnistRef`, compared with HDF5 look-ups of the same fields for each item.

    python -m tests.perf.items [--data FOLDER] [--variant mbg] [--images 4000] [--items 1000] [--rounds 5]

Without --data, a data set of `--images` training images is generated first. The two ways alternate. The output has the
milliseconds per item, in order and shuffled: the median of the rounds, each round, and the ratio of the medians. Files
are checked and loaded into the page cache before the first round.
"""

import argparse
import statistics
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torchvision import tv_tensors

from mnistref import MnistRef
from mnistref.common.text_table import table
from mnistref.generation.generate import Request, generate
from mnistref.storage.open_shards import SHARD_FILES
from mnistref.storage.shards import read_field

NAMES = ("image", "instance", "digit_class", "digit_color", "digit_scale", "digit_box")


class ByLookUps:
    """Items as version 0.1 read them, with six HDF5 look-ups per item."""

    def __init__(self, dataset: MnistRef) -> None:
        self.dataset, self.shards = dataset, dataset.manifest.splits[dataset.split]
        self.first = [0, *accumulate(shard.images for shard in self.shards)]

    def __getitem__(self, index: int) -> dict[str, object]:
        triples = self.dataset.triples
        image, slot = int(triples.image[index]), int(triples.slot[index])
        k = bisect_right(self.first, image) - 1
        path = self.dataset.folder / self.shards[k].file
        with SHARD_FILES.open(path, self.shards[k], self.dataset.variant.canvas) as file:
            fields = {name: read_field(file, name, path, image - self.first[k]) for name in NAMES}
        y0, x0, y1, x1 = fields["digit_box"][slot].tolist()
        size = fields["instance"].shape
        boxes = tv_tensors.BoundingBoxes(torch.tensor([[x0, y0, x1, y1]]), format="XYXY", canvas_size=size)
        return {
            "image": tv_tensors.Image(torch.from_numpy(fields["image"]).permute(2, 0, 1).contiguous()),
            "query": int(triples.query[index]),
            "label": int(triples.label[index]),
            "mask": tv_tensors.Mask(torch.from_numpy(fields["instance"] == slot + 1)),
            "scale": float(fields["digit_scale"][slot]),
            "box": torch.as_tensor(boxes).reshape(-1)[[1, 0, 3, 2]],
        }


def milliseconds(get: Callable[[int], object], order: Sequence[int]) -> float:
    started = time.perf_counter()
    for index in order:
        get(index)
    return 1000 * (time.perf_counter() - started) / len(order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--variant", default="mbg")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        sizes = {"train": asked.images, "val": 1, "test": 1}
        data = asked.data or generate(Request(asked.variant, Path(root), sizes=sizes, digits="mnist5k"))
        measure(MnistRef(data), asked.items, asked.rounds)


def measure(dataset: MnistRef, items: int, rounds: int) -> None:
    ways: dict[str, Callable[[int], object]] = {
        "HDF5 look-ups": ByLookUps(dataset).__getitem__,
        "mapped": dataset.__getitem__,
    }
    shuffled = np.random.default_rng(0).permutation(len(dataset))[:items].tolist()
    orders = {"in order": range(min(items, len(dataset))), "shuffled": shuffled}
    for get in ways.values():
        milliseconds(get, [*orders["in order"], *orders["shuffled"]])
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, order in orders.items():
            for way, get in ways.items():
                found.setdefault((name, way), []).append(milliseconds(get, order))
    rows = [["order", "way", "ms an item", "rounds", "× HDF5"]]
    for (name, way), values in found.items():
        median, base = statistics.median(values), statistics.median(found[name, "HDF5 look-ups"])
        rows.append([name, way, f"{median:.3f}", " ".join(f"{v:.3f}" for v in values), f"{median / base:.3f}"])
    print(f"{dataset.manifest.folder_name}, {len(dataset):,} questions, {items} items a round")
    print(table(rows))


if __name__ == "__main__":
    main()
