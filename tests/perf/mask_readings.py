"""Measure mask correctness by other definitions, to find out what limits it.

    python -m tests.perf.mask_readings RUN [RUN …] --data SET [--images 400]

Each row is a mean over the first test questions. The definitions are in `readings`. RUN is a folder with weights, and
SET is the data set that it was trained on.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import bench
from bench.data.loading import load_split
from bench.data.split import Split
from mnistref.common.text_table import table

BATCH = 25


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (B, 1, h, w) at image size (B, H, W), as mask correctness does."""
    return F.interpolate(maps.double(), size=size, mode="bilinear", align_corners=False)[:, 0]


def share(scores: Tensor, target: Tensor) -> Tensor:
    """Return the share of the scores (B, h, w) that lies on the target, of the same shape: (B,)."""
    return (scores * target).sum((1, 2)) / scores.sum((1, 2))


def boxes(target: Tensor) -> Tensor:
    """Return the smallest rectangle around each target, bool (B, H, W)."""
    rows, columns = target.any(2), target.any(1)
    spans = [side.cummax(1).values & side.flip(1).cummax(1).values.flip(1) for side in (rows.int(), columns.int())]
    return (spans[0][:, :, None] & spans[1][:, None, :]).bool()


def best_position(target: Tensor, h: int, w: int) -> Tensor:
    """Return the highest mask correctness of any map of h × w positions, (B,).

    The share is a ratio of two linear functions of the map, so it is highest if one position has all attention.
    """
    single = upsampled(torch.eye(h * w).view(h * w, 1, h, w), (target.shape[1], target.shape[2])).flatten(1)
    return (target.flatten(1).double() @ (single / single.sum(1, keepdim=True)).T).amax(1)


def readings(maps: list[Tensor], target: Tensor) -> dict[str, Tensor]:
    """Return mask correctness by several definitions, (B,) each.

    Args:
        maps: the maps of all slots, (B, 1, h, w), not negative.
        target: bool (B, H, W), the ink of the queried digit.
    """
    size, (h, w) = (target.shape[1], target.shape[2]), maps[-1].shape[2:]
    each = [upsampled(one, size) for one in maps]
    product, ink = torch.stack(each).prod(0), target.double()[:, None]
    covered = F.adaptive_avg_pool2d(ink, (h, w))
    small = torch.stack([F.interpolate(one.double(), size=(h, w), mode="area")[:, 0] for one in maps]).prod(0)
    return {
        "uniform map": target.double().mean((1, 2)),
        "mask correctness": share(product, target),
        "best map of the last size": best_position(target, h, w),
        "map of the last size that follows the ink": share(upsampled(covered, size), target),
        "on the digit's box": share(product, boxes(target)),
        "on the box, uniform map": boxes(target).double().mean((1, 2)),
        "on the positions that the digit touches": share(small, covered[:, 0] > 0),
        "on the positions, uniform map": (covered[:, 0] > 0).double().mean((1, 2)),
        "product squared": share(product**2, target),
        **{f"map {k} alone": share(one, target) for k, one in enumerate(each, 1)},
    }


@torch.inference_mode()
def mean_readings(model: torch.nn.Module, split: Split, images: int) -> dict[str, float]:
    """Return the mean of each reading over the first test questions, and the accuracy."""
    found: dict[str, list[Tensor]] = {}
    for indices in torch.arange(min(images, len(split))).split(BATCH):
        batch = split.batch(indices)
        out = model(*batch.network_inputs)
        right = {"accuracy": (out.logits.argmax(1) == batch.label).double()}
        for name, values in (right | readings(out.masks, split.masks(indices))).items():
            found.setdefault(name, []).append(values)
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run with weights")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--images", type=int, default=400, help="number of test questions (400)")
    asked = parser.parse_args()
    split = load_split(asked.data, "test", "one", torch.device("cpu"), masks=True)
    loaded = [bench.load_run(run) for run in asked.runs]
    columns = [mean_readings(run.model.eval(), split, asked.images) for run in loaded]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [["", *(run.config.attn for run in loaded)]]
    rows += [[name, *(f"{column[name]:.3f}" if name in column else "–" for column in columns)] for name in names]
    print(table(rows))


if __name__ == "__main__":
    main()
