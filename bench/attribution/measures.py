"""The measures of a map method, as entries of one table, and their values for each question.

Shapes: B questions, each about its own image of H × W pixels.
"""

from functools import partial

import torch
from torch import Tensor

from bench.common.number_format import share
from bench.evaluation import map_scores
from bench.evaluation import unchecked_metrics as metrics
from bench.evaluation.column import SHARE_RANGE, Column
from bench.evaluation.columns import MASK_CORRECTNESS, POINTING

AVERAGE_PRECISION, RANK_ACCURACY, IOU = "average_precision", "rank_accuracy", "iou_otsu"
ON_OTHERS, ON_BACKGROUND = "on_others", "on_background"
DELETION, INSERTION = "deletion", "insertion"
IMAGE_MEASURES = {
    AVERAGE_PRECISION: map_scores.average_precision,
    RANK_ACCURACY: map_scores.rank_accuracy,
    IOU: map_scores.iou_after_otsu,
}
"""Measures that need the scores and the target alone."""
AREAS = ("area_target", "area_others", "area_background")
"""Shares of the image that the three regions cover. The uniform map has these scores."""

_share = partial(Column, number_format=share, value_range=SHARE_RANGE, bounded=True)

MEASURES = (
    _share(
        MASK_CORRECTNESS, "Share of the map that lies on the queried digit.", higher_is_better=True, text_heading="mass"
    ),
    _share(
        POINTING,
        "Share of the questions whose map has its maximum on the queried digit.",
        higher_is_better=True,
        text_heading="pointing",
    ),
    _share(
        AVERAGE_PRECISION, "Average precision of the pixels of each image.", higher_is_better=True, text_heading="AP"
    ),
    _share(
        RANK_ACCURACY,
        "Share of the K highest pixels that lie on the queried digit, which has K pixels.",
        higher_is_better=True,
        text_heading="rank acc.",
    ),
    _share(
        IOU,
        "Intersection over union of the queried digit and the pixels above Otsu's threshold.",
        higher_is_better=True,
        text_heading="IoU",
    ),
    _share(ON_OTHERS, "Share of the map that lies on other digits.", text_heading="on others"),
    _share(ON_BACKGROUND, "Share of the map that lies on the background.", text_heading="on backgr."),
    _share(
        DELETION,
        "Mean probability of the class while the highest pixels become black.",
        higher_is_better=False,
        text_heading="deletion",
    ),
    _share(
        INSERTION,
        "Mean probability of the class while the highest pixels of a blurred image become sharp.",
        higher_is_better=True,
        text_heading="insertion",
    ),
)
"""Every measure of a map method, in the order of tables."""


def region_areas(target: Tensor, others: Tensor) -> dict[str, Tensor]:
    """Return the share of the image that each region covers, (B,) each by the names of `AREAS`.

    Args:
        target: bool (B, H, W), the ink of the queried digit.
        others: bool (B, H, W), the ink of all other digits.
    """
    regions = (target, others, ~(target | others))
    return {name: metrics.area_of(region) for name, region in zip(AREAS, regions, strict=True)}


def measure_map(scores: Tensor, target: Tensor, others: Tensor) -> dict[str, Tensor]:
    """Return the measures of maps that need no network, (B,) each by name.

    Args:
        scores: f4 (B, H, W), not negative, summing to 1 for each image, see `unchecked_metrics.attended`.
        target: bool (B, H, W), the ink of the queried digit. Without a pixel, each share on it is 0.
        others: bool (B, H, W), the ink of all other digits.
    """
    return {
        MASK_CORRECTNESS: metrics.share_on(scores, target),
        POINTING: metrics.peak_on(scores, target),
        **{name: measure(scores, target) for name, measure in IMAGE_MEASURES.items()},
        ON_OTHERS: metrics.share_on(scores, others),
        ON_BACKGROUND: metrics.share_on(scores, ~(target | others)),
    }


def normalize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (B, h, w) at image size, summing to 1, f4 (B, H, W). A map that is zero everywhere becomes uniform.

    Raises:
        ValueError: a map has values that are negative or not finite.
    """
    if not torch.isfinite(maps).all() or (maps < 0).any():
        raise ValueError("a map has values that are negative or not finite")
    return metrics.attended([maps.unsqueeze(1)], size)
