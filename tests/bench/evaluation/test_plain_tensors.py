"""Tensors and arrays of unusual kinds: measures accept the unambiguous ones and name a remedy for the others."""

import numpy as np
import pytest
import torch

from bench.evaluation.plain_tensors import as_tensor
from bench.metrics import accuracy_per_scale, mask_area, mask_correctness, precision_recall, scale_bin, score_histogram

MAP = (torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 250).round()
TARGET = torch.zeros(2, 4, 4, dtype=torch.bool)
TARGET[:, 0] = True
BYTES = MAP.to(torch.uint8)
HIDDEN = np.zeros(MAP.shape, bool)
HIDDEN[0, 0, 1, 1] = True

SAME = {
    "a masked array without masked entries": np.ma.array(MAP.numpy()),
    "a masked array whose mask is nowhere true": np.ma.array(MAP.numpy(), mask=np.zeros(MAP.shape, bool)),
    "a list of those": [np.ma.array(part) for part in MAP.numpy()],
    "a masked tensor that is all valid": torch.masked.masked_tensor(MAP, torch.ones_like(MAP, dtype=torch.bool)),
    "sparse": MAP.to_sparse(),
    "sparse in part": MAP.to_sparse(2),
    "sparse rows": MAP[:, 0].to_sparse_csr(),
    "sparse blocks": MAP[:, 0].to_sparse_bsr((2, 2)),
    "a list of sparse ones": [part.to_sparse() for part in MAP],
    "quantized": torch.quantize_per_tensor(MAP, 1.0, 0, torch.quint8),
    "quantized by image": torch.quantize_per_channel(MAP, torch.ones(2), torch.zeros(2), 0, torch.quint8),
    "u8": MAP.numpy().astype(np.uint64),
    "u4": MAP.numpy().astype(np.uint32),
    "u8 of torch": torch.from_numpy(MAP.numpy().astype(np.uint64)),
    "u8 above 2**63": MAP.numpy().astype(np.uint64) * np.uint64(2**56),
    "u8 of torch above 2**63": torch.from_numpy(MAP.numpy().astype(np.uint64) * np.uint64(2**56)),
}


@pytest.mark.parametrize("kind", SAME)
def test_maps_of_unusual_tensor_kinds_are_measured(kind):
    right = mask_correctness([MAP], TARGET)
    torch.testing.assert_close(mask_correctness([SAME[kind]], TARGET), right)
    if not isinstance(SAME[kind], list):
        torch.testing.assert_close(mask_correctness(SAME[kind], TARGET), right)


def test_eight_byte_integers_keep_their_size_and_exact_digits():
    high = np.full((1, 1, 8, 8), 2**63 + 5, np.uint64)
    assert mask_correctness([high], np.ones((1, 8, 8))).tolist() == [1.0]
    for value in (high, torch.from_numpy(high)):
        assert as_tensor(value, "it").unique().tolist() == [2.0**63]
    low = np.array([2**63 - 1, 2**53 + 1], np.uint64)
    for value in (low, torch.from_numpy(low)):
        assert as_tensor(value, "it").tolist() == low.tolist()


OTHERS = {
    "a masked array": (
        np.ma.array(MAP.numpy(), mask=HIDDEN),
        r"masked entries; pass a plain one, such as \.filled\(0\)",
    ),
    "a list of masked arrays": ([*np.ma.array(MAP.numpy(), mask=HIDDEN)], r"such as \.filled\(0\)"),
    "the masked constant": (np.ma.masked, r"such as \.filled\(0\)"),
    "a masked tensor": (torch.masked.masked_tensor(MAP, ~torch.from_numpy(HIDDEN)), r"such as to_tensor\(0\)"),
    "meta": (MAP.to("meta"), r"holds no values; pass one on the CPU"),
    "a list of meta": (list(MAP.to("meta")), r"holds no values"),
    "nested": (torch.nested.nested_tensor(list(MAP)), r"a nested tensor; pass a dense one.*torch\.stack"),
    "jagged": (torch.nested.nested_tensor(list(MAP), layout=torch.jagged), r"a nested tensor; pass a dense one"),
    "a layout that has no way back": (MAP[:, 0].to(torch.float8_e5m2).to_sparse_bsr((2, 2)), r"pass a dense one"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_unsupported_tensor_kinds_are_errors_of_one_line(kind):
    value, message = OTHERS[kind]
    calls = {
        r"^map 2: ": lambda: mask_correctness([MAP, value], TARGET),
        r"^the target: ": lambda: mask_area(value),
        r"^(the maps|map 1): ": lambda: mask_correctness(value, TARGET),
        r"the target: ": lambda: mask_correctness([MAP], value),
        r"^the histogram: ": lambda: precision_recall(value),
        r"^the scales: ": lambda: scale_bin(value),
        r"^correct: ": lambda: accuracy_per_scale(value, MAP),
    }
    for start, call in calls.items():
        if kind == "the masked constant" and start.startswith("^(the maps"):
            start = r"^map 1: "
        with pytest.raises(ValueError, match=start + ".*" + message) as error:
            call()
        assert "\n" not in str(error.value)


def test_targets_of_unusual_tensor_kinds_are_measured():
    right, ink = score_histogram([MAP], TARGET), TARGET.float()
    for same in (
        np.ma.array(TARGET.numpy()),
        [np.ma.array(part) for part in TARGET.numpy()],
        torch.quantize_per_tensor(ink, 1.0, 0, torch.quint8),
        [part.to_sparse() for part in ink],
        TARGET.numpy().astype(np.uint64) * np.uint64(255),
        torch.masked.masked_tensor(ink, torch.ones_like(TARGET)),
    ):
        assert torch.equal(score_histogram([MAP], same), right)
    with pytest.raises(ValueError, match="0 and 1, or 0 and 255"):
        mask_area(TARGET.numpy().astype(np.uint64) * np.uint64(2**64 - 1))
