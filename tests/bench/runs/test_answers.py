"""The answers of a run: written, packed, of early versions, and damaged."""

import numpy as np
import pytest
import torch

from bench.runs.answers import ANSWERS, PACKED_ANSWERS, read_answers, read_packed_answers, write_answers
from mnistref.common.errors import DataProblemError

KEPT = {
    "right": torch.tensor([0, 1, 1], dtype=torch.uint8),
    "answer": torch.tensor([0, 4, 2], dtype=torch.int16),
    "mask_correctness": torch.tensor([0.0, 0.5, 1.0], dtype=torch.float16),
}


def test_answers_are_read_as_written_packed_or_not(tmp_path):
    assert read_answers(tmp_path) is None
    assert read_packed_answers(tmp_path) is None
    write_answers(tmp_path, KEPT)
    packed = read_packed_answers(tmp_path)
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / PACKED_ANSWERS).write_bytes(packed)
    assert read_packed_answers(tmp_path / "board") == packed
    for folder in (tmp_path, tmp_path / "board"):
        found = read_answers(folder)
        assert found.keys() == KEPT.keys()
        for name, values in KEPT.items():
            np.testing.assert_array_equal(found[name], values.numpy())
            assert found[name].dtype == values.numpy().dtype


def test_types_that_numpy_does_not_have_become_single_precision(tmp_path):
    write_answers(tmp_path, {**KEPT, "mask_correctness": torch.tensor([0.0, 0.5, 1.0], dtype=torch.bfloat16)})
    found = read_answers(tmp_path)["mask_correctness"]
    assert (found.dtype, found.tolist()) == (np.float32, [0.0, 0.5, 1.0])


def test_damaged_answers_are_named(tmp_path):
    (tmp_path / ANSWERS).write_bytes(b"no answers")
    with pytest.raises(DataProblemError, match=f"{ANSWERS}: .*not a safetensors file"):
        read_answers(tmp_path)
    write_answers(tmp_path, {**KEPT, "right": torch.tensor([0, 1, 2], dtype=torch.uint8)})
    with pytest.raises(DataProblemError, match=r"not the answers of a test \(right missing or wrong\)"):
        read_answers(tmp_path)
