"""The records of attacks and of swapped questions: written, read, packed, and damaged."""

import json

import numpy as np
import pytest
import torch

from bench.attribution.swap import LARGEST_CHANGE, MOVED, TOTAL_VARIATION
from bench.common.safetensors_io import decode, encode
from bench.runs import attack_record, saliency_record, swap_record
from bench.runs.question_record import QuestionRecord
from mnistref.common.errors import DataProblemError
from tests.bench.runs.question_cases import write_attack, write_swap

KINDS = {"attack": (attack_record.RECORD, write_attack), "swap": (swap_record.RECORD, write_swap)}
each_kind = pytest.mark.parametrize(("kind", "write"), KINDS.values(), ids=list(KINDS))


@each_kind
def test_a_packed_attack_or_swap_record_is_read_like_the_original(kind, write, tmp_path):
    assert kind.read(tmp_path) is None
    assert kind.read_packed(tmp_path) is None
    before = write(tmp_path)
    packed = kind.read_packed(tmp_path)
    (tmp_path / kind.arrays_file).unlink()
    (tmp_path / kind.packed_file).write_bytes(packed)
    after = kind.read(tmp_path)
    assert after.settings == before.settings
    for name, values in before.right.items():
        np.testing.assert_array_equal(after.right[name], values)
    assert kind.read_packed(tmp_path) == packed


@each_kind
def test_a_missing_or_broken_file_of_an_attack_or_swap_record_is_named(kind, write, tmp_path):
    write(tmp_path)
    (tmp_path / kind.arrays_file).write_bytes(b"no arrays")
    with pytest.raises(DataProblemError, match=f"{kind.arrays_file}.*not a safetensors file"):
        kind.read(tmp_path)
    (tmp_path / kind.arrays_file).unlink()
    with pytest.raises(DataProblemError, match=f"{kind.arrays_file} is missing.*delete it and run `{kind.command}`"):
        kind.read(tmp_path)


@each_kind
@pytest.mark.parametrize(
    ("key", "value"),
    [("format", 2), ("images", 0), ("images", 4), ("images", True), ("dataset", 3), ("batch", None), ("device", [])],
)
def test_wrong_settings_of_attack_and_swap_records_are_named(kind, write, key, value, tmp_path):
    write(tmp_path)
    settings = json.loads((tmp_path / kind.settings_file).read_text())
    (tmp_path / kind.settings_file).write_text(json.dumps(settings | {key: value}))
    with pytest.raises(DataProblemError, match=r"damaged \(.*(wrong|format is not 1)"):
        kind.read(tmp_path)


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
    record, write = KINDS[kind]
    write(tmp_path)
    arrays = decode((tmp_path / record.arrays_file).read_bytes(), "arrays")
    if values is None:
        del arrays[name]
    else:
        arrays[name] = values
    (tmp_path / record.arrays_file).write_bytes(encode(arrays))
    with pytest.raises(DataProblemError, match=f"{name} missing or wrong"):
        record.read(tmp_path)


def test_saliency_attack_and_swap_records_have_different_files():
    kinds = (saliency_record.RECORD, attack_record.RECORD, swap_record.RECORD)
    assert len({name for kind in kinds for name in (kind.settings_file, kind.arrays_file, kind.packed_file)}) == 9


@each_kind
def test_an_attack_or_swap_record_without_files_equals_the_record_that_is_read(kind, write, tmp_path, monkeypatch):
    contents = []
    original = QuestionRecord.write
    monkeypatch.setattr(
        QuestionRecord, "write", lambda self, run, content: contents.append(content) or original(self, run, content)
    )
    read, made = write(tmp_path), kind.make(contents[0])
    assert made.settings == read.settings
    for name, values in vars(read).items():
        if name != "settings":
            np.testing.assert_equal(getattr(made, name), values)
