"""The record of swapped questions."""

import numpy as np

from bench.attribution.swap import LARGEST_CHANGE, MOVED
from tests.bench.runs.question_cases import write_swap


def test_a_swap_record_is_read_as_it_was_written(tmp_path):
    record = write_swap(tmp_path)
    assert record.settings == {"format": 1, "dataset": "mini-1", "images": 3, "batch": 7, "device": "cpu"}
    np.testing.assert_allclose(record.measures[LARGEST_CHANGE], [0.6, 1e-7, 1.0], rtol=1e-6)
    assert record.measures[MOVED].tolist() == [-0.5, 0.0, 1.0]
    assert record.right["right2"].tolist() == [True, False, True]
