"""The records of attacks and of swapped questions: written, read, packed, and damaged."""

import json

import numpy as np
import pytest
import torch

from bench.attribution.swap import LARGEST_CHANGE, MOVED, TOTAL_VARIATION
from bench.common.safetensors_io import decode, encode
from bench.runs import attack_record, saliency_record, swap_record
from mnistref.common.errors import DataProblemError
from tests.bench.runs.question_cases import write_attack, write_swap

KINDS = {"attack": (attack_record, write_attack), "swap": (swap_record, write_swap)}
each_kind = pytest.mark.parametrize(("module", "write"), KINDS.values(), ids=list(KINDS))


@each_kind
def test_a_packed_attack_or_swap_record_is_read_like_the_original(module, write, tmp_path):
    assert module.read_record(tmp_path) is None
    assert module.FILE.read_packed(tmp_path) is None
    before = write(tmp_path)
    packed = module.FILE.read_packed(tmp_path)
    (tmp_path / module.ARRAYS).unlink()
    (tmp_path / module.FILE.packed_file).write_bytes(packed)
    after = module.read_record(tmp_path)
    assert after.settings == before.settings
    for name, values in before.right.items():
        np.testing.assert_array_equal(after.right[name], values)
    assert module.FILE.read_packed(tmp_path) == packed


@each_kind
def test_a_missing_or_broken_file_of_an_attack_or_swap_record_is_named(module, write, tmp_path):
    write(tmp_path)
    (tmp_path / module.ARRAYS).write_bytes(b"no arrays")
    with pytest.raises(DataProblemError, match=f"{module.ARRAYS}.*not a safetensors file"):
        module.read_record(tmp_path)
    (tmp_path / module.ARRAYS).unlink()
    with pytest.raises(
        DataProblemError, match=f"{module.ARRAYS} is missing.*delete it and run `{module.FILE.command}`"
    ):
        module.read_record(tmp_path)


@each_kind
@pytest.mark.parametrize(
    ("key", "value"),
    [("format", 2), ("images", 0), ("images", 4), ("images", True), ("dataset", 3), ("batch", None), ("device", [])],
)
def test_wrong_settings_of_attack_and_swap_records_are_named(module, write, key, value, tmp_path):
    write(tmp_path)
    settings = json.loads((tmp_path / module.SETTINGS).read_text())
    (tmp_path / module.SETTINGS).write_text(json.dumps(settings | {key: value}))
    with pytest.raises(DataProblemError, match=r"damaged \(.*(wrong|format is not 1)"):
        module.read_record(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("attack", "pgd/all/4/changed", torch.tensor([0, 1, 2], dtype=torch.uint8)),
        ("attack", "pgd/all/4/right", torch.tensor([0, 1], dtype=torch.uint8)),
        ("attack", "pgd/others/4/right", torch.tensor([0, 1, 1], dtype=torch.uint8)),
        ("attack", "area/target", torch.tensor([0.5, 2.0, 0.5])),
        ("attack", "area/target", torch.tensor([0.5, float("nan"), 0.5])),
        ("attack", "right", None),
        ("swap", MOVED, torch.tensor([0.5, -1.5, 0.5])),
        ("swap", TOTAL_VARIATION, torch.tensor([0.5, -0.5, 0.5])),
        ("swap", LARGEST_CHANGE, torch.tensor([0.5, float("nan"), 0.5])),
        ("swap", "right1", torch.tensor([0, 1, 3], dtype=torch.uint8)),
        ("swap", "right2", None),
        ("swap", "further", torch.tensor([0.5, 0.5, 0.5])),
    ],
)
def test_wrong_arrays_of_attack_and_swap_records_are_named(kind, name, values, tmp_path):
    module, write = KINDS[kind]
    write(tmp_path)
    arrays = decode((tmp_path / module.ARRAYS).read_bytes(), "arrays")
    if values is None:
        del arrays[name]
    else:
        arrays[name] = values
    (tmp_path / module.ARRAYS).write_bytes(encode(arrays))
    with pytest.raises(DataProblemError, match=f"{name} missing or wrong"):
        module.read_record(tmp_path)


def test_saliency_attack_and_swap_records_have_different_files():
    modules = (saliency_record, attack_record, swap_record)
    assert len({name for m in modules for name in (m.SETTINGS, m.ARRAYS, m.FILE.packed_file)}) == 9
