"""Measures without checks of their arguments."""

import pytest
import torch

from bench.evaluation.unchecked_metrics import BINS, curve_of


def test_precision_recall_curve_of_many_pixels_is_exact():
    """The sums of counts are too large for single precision."""
    counts = torch.zeros(2, BINS, dtype=torch.long)
    counts[0, 5], counts[0, 9], counts[1, 9] = 2**40, 1, 3
    _, precision, area = curve_of(counts)
    assert (float(precision[0]), float(precision[-1])) == (0.25, (2**40 + 1) / (2**40 + 4))
    assert area == pytest.approx((0.25 + 2**40 * (2**40 + 1) / (2**40 + 4)) / (2**40 + 1), rel=1e-14)
