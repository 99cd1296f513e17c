"""The values that the papers print, from `published.csv`, where accuracies and all other shares are in percent.

Measures that no column of a board has:

- `top5_error`: 1 − top-5 accuracy;
- `transfer_SET`: accuracy of a linear classifier on the features of the network, on other images (LTPA Table 3);
- `fooling_fgsm_E`: share of the predictions that a step of the fast gradient sign method changes, with a maximum norm
  of E, which LTPA gives without a unit (Fig. 6);
- `jaccard_CLASS`: mean Jaccard index of the thresholded map and the object on the images of a class of the Object
  Discovery set, by a network that was trained on the named data set (LTPA Fig. 9). The value of VGG-att2, trained on
  CIFAR-100, for horses is missing, because its digits cannot be read.

Lines without a mechanism are values of methods that this project does not have: those that LTPA cites from other
papers (Table 2: `VGG-GAP` on CUB and `RN-34`, which others trained; Fig. 9: seven methods of segmentation, which have
no training data set either). They are there for readers of the file. No run is compared with them.

`sd` is the standard deviation that LTPA prints in Tables 1 and 2. The paper does not say over what.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from bench.config import DEFAULT_NETWORK, trained_network
from bench.evaluation.columns import ACCURACY, ERROR, TPR
from bench.tasks.preparation import FOLDER_VARIANT
from mnistref.common.errors import DataProblemError

PAPERS = ("ARNN", "PAN", "LTPA")
"""The papers. If ARNN and PAN print a value, ARNN's is used, because it has every mechanism in one table."""
_PERCENT = (ACCURACY, ERROR, TPR, "top5_error", "transfer_", "fooling_", "jaccard_")
"""Beginnings of the names of measures that are in percent."""


@dataclass(frozen=True)
class PublishedValue:
    """A value that a paper prints. Accuracies, errors and other shares are in 0 … 1.

    Attributes:
        value: the value.
        source: the paper, and the table or section.
        sd: its standard deviation in the same unit; None if the paper prints none.
    """

    value: float
    source: str
    sd: float | None = None


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str, str, str], PublishedValue]:
    """Return (paper, variant, network, attn, metric) → value."""
    return read_published(files("bench.leaderboard").joinpath("published.csv").read_text(encoding="utf-8"))


def read_published(text: str) -> dict[tuple[str, str, str, str, str], PublishedValue]:
    """Return (paper, variant, network, attn, metric) → value, from the text of `published.csv`.

    Lines without a mechanism are left out, see this module. The columns `network` and `sd` may be missing. The first
    word of a source begins with the name of its paper: the source of a supplement is `ARNN-S`, for example.

    Raises:
        DataProblemError: a source is not in one of `PAPERS`.
    """
    table = {}
    for row in csv.DictReader(text.splitlines()):
        in_percent = row["measure"].startswith(_PERCENT)
        scale = 100 if in_percent else 1
        paper = next((paper for paper in PAPERS if row["source"].startswith(paper)), None)
        if paper is None:
            raise DataProblemError(
                f"published.csv: {row['source']!r} is not a source in {', '.join(PAPERS)}; "
                "add its paper to PAPERS in bench/leaderboard/published.py"
            )
        if not row["attn"]:
            continue
        network = row.get("network") or DEFAULT_NETWORK
        key = paper, row["variant"], network, row["attn"], row["measure"]
        sd = round(float(row["sd"]) / scale, 6) if row.get("sd") else None
        table[key] = PublishedValue(round(float(row["value"]) / scale, 6), row["source"], sd)
    return table


def is_papers_network(recipe: str) -> bool:
    """Return whether a training is of the network whose values the papers print for the variants.

    Args:
        recipe: the label of the training, see `bench.config.RunConfig.training`.
    """
    return trained_network(recipe) == DEFAULT_NETWORK


def name_of_task(variant: str) -> str:
    """Return the name of the task that a folder of images stands for: `cub200` for `folder-cub200`.

    Args:
        variant: name of a variant or task. The name of others is returned as it is.
    """
    return variant.removeprefix(FOLDER_VARIANT)


def find_published(
    variant: str,
    attn: str,
    metric: str = ACCURACY,
    papers: Sequence[str] = PAPERS,
    network: str = DEFAULT_NETWORK,
) -> PublishedValue | None:
    """Return the value that the first of the papers prints; None if none prints one.

    Args:
        variant: name of the variant or task.
        attn: name of the mechanism.
        metric: name of the measure, see this module.
        papers: the papers, in the order of preference.
        network: name of the network around the mechanism.
    """
    values = (_table().get((paper, variant, network, attn, metric)) for paper in papers)
    return next(filter(None, values), None)
