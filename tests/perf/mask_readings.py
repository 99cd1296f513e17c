"""Measure mask correctness by other definitions, and what each map is needed for.

    python -m tests.perf.mask_readings RUN [RUN …] --data SET [--images 400]

Each row is a mean over the first test questions. The definitions are in `readings`. The last rows are accuracies of the
same network with one of its maps changed: replaced by its mean in each image, or by the map of another image and
question. RUN is a folder with weights of the network `attribute`, and SET is the data set that it was trained on.
"""

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bench
from bench.attention.base import Changed, call_mechanism, repeat_for_questions
from bench.data.loading import load_split
from bench.data.split import Split
from mnistref.common.text_table import table

BATCH = 25


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (B, 1, h, w) at image size (B, H, W), as mask correctness does."""
    return F.interpolate(maps.double(), size=size, mode="bilinear", align_corners=False)[:, 0]


def share(scores: Tensor, target: Tensor) -> Tensor:
    """Return the share of the scores (B, h, w) that lies on the target, of the same shape: (B,).

    Scores that are zero everywhere count as uniform, as in mask correctness.
    """
    total = scores.sum((1, 2))
    uniform = target.double().mean((1, 2))
    return torch.where(total > 0, (scores * target).sum((1, 2)) / total.where(total > 0, 1.0), uniform)


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


def readings(maps: list[Tensor], target: Tensor, power: float = 1.0) -> dict[str, Tensor]:
    """Return mask correctness by several definitions, (B,) each.

    Args:
        maps: the maps of all slots, (B, 1, h, w), not negative.
        target: bool (B, H, W), the ink of the queried digit.
        power: exponent of the product, see `bench.metrics.attended`.
    """
    size, (h, w) = (target.shape[1], target.shape[2]), maps[-1].shape[2:]
    each = [upsampled(one, size) for one in maps]
    product, ink = torch.stack(each).prod(0) ** power, target.double()[:, None]
    covered = F.adaptive_avg_pool2d(ink, (h, w))
    small = torch.stack([F.interpolate(one.double(), size=(h, w), mode="area")[:, 0] for one in maps]).prod(0)
    small = small**power
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


class ChangedGate(nn.Module):
    """A gate whose map is changed before it is applied.

    Args:
        gate: a gate whose mechanism returns scores.
        change: of the map (T, 1, h, w).
    """

    def __init__(self, gate: Any, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gate: Any = gate
        self.change = change

    def forward(self, x: Tensor, query: Tensor, image_index: Tensor | None = None) -> Changed:
        """Return features and map, see `bench.attention.base.Gate.forward`."""
        score = call_mechanism(self.gate.attend, x, query, image_index)
        if not isinstance(score, Tensor):
            raise TypeError(f"{type(self.gate.attend).__name__} returns changed features")
        mask = self.change(score.sigmoid())
        return Changed(self.gate.norm(repeat_for_questions(x, image_index) * mask), mask)


CHANGES = {
    "replaced by its mean": lambda mask: mask.mean((2, 3), keepdim=True).expand_as(mask),
    "of another image and question": lambda mask: mask.roll(1, 0),
}


@torch.inference_mode()
def accuracies_with_changed_maps(model: nn.Module, split: Split, images: int) -> dict[str, float]:
    """Return the accuracy over the first test questions for each gate and change. Other mechanisms have none."""
    found = {}
    gates: Any = model.gates
    for k, gate in list(gates.items()):
        for name, change in CHANGES.items():
            gates[k] = ChangedGate(gate, change)
            with suppress(TypeError):
                found[f"accuracy, map {int(k) + 1} {name}"] = accuracy_of(model, split, images)
            gates[k] = gate
    return found


def accuracy_of(model: nn.Module, split: Split, images: int) -> float:
    """Return the accuracy over the first test questions."""
    right = [
        model(*batch.network_inputs).logits.argmax(1) == batch.label
        for batch in (split.batch(indices) for indices in torch.arange(min(images, len(split))).split(BATCH))
    ]
    return float(torch.cat(right).double().mean())


@torch.inference_mode()
def mean_readings(model: nn.Module, split: Split, images: int) -> dict[str, float]:
    """Return the mean of each reading over the first test questions, and the accuracy."""
    found: dict[str, list[Tensor]] = {}
    for indices in torch.arange(min(images, len(split))).split(BATCH):
        batch = split.batch(indices)
        out = model(*batch.network_inputs)
        if not out.masks:
            raise SystemExit("this network has no attention map")
        right = {"accuracy": (out.logits.argmax(1) == batch.label).double()}
        for name, values in (right | readings(out.masks, split.masks(indices), out.mask_power)).items():
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
    columns = [
        mean_readings(run.model.eval(), split, asked.images)
        | accuracies_with_changed_maps(run.model, split, asked.images)
        for run in loaded
    ]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [["", *(run.config.attn for run in loaded)]]
    rows += [[name, *(f"{column[name]:.3f}" if name in column else "–" for column in columns)] for name in names]
    print(table(rows))


if __name__ == "__main__":
    main()
