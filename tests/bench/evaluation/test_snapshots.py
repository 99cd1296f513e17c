"""The choice of the test images whose maps a run stores."""

import numpy as np

from bench.evaluation.snapshots import choose_across_scales


def test_chosen_snapshots_are_spread_over_scales_and_follow_the_seed():
    scales = np.random.default_rng(0).uniform(0.5, 3.0, 500) ** 3
    chosen = choose_across_scales(scales, 6, 0)
    assert chosen == choose_across_scales(scales, 6, 0) != choose_across_scales(scales, 6, 1)
    edges = np.linspace(scales.min(), scales.max(), 7)
    assert np.digitize(scales[chosen], edges).tolist() == [1, 2, 3, 4, 5, 6]
    assert sorted(choose_across_scales(scales[:4], 9, 0)) == [0, 1, 2, 3]
    assert choose_across_scales(np.ones(3), 2, 0) == [0, 1]
