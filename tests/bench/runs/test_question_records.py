"""The records of attacks and of swapped questions: written, read, packed, and damaged."""

import json

import numpy as np
import pytest
import torch

from bench.attribution.attack_names import METHODS, REGIONS
from bench.attribution.fooling import Attack, AttackPlan, FoolingResult
from bench.attribution.swap import AREAS, LARGEST_CHANGE, MASSES, MOVED, RIGHTS, TOTAL_VARIATION, Swap
from bench.common.safetensors_io import decode, encode
from bench.runs import attack_record, saliency_record, swap_record
from bench.runs.question_record import QuestionRecord
from mnistref.common.errors import DataProblemError

PLAN = AttackPlan(("pgd",), ("all", "target"), (0.5, 4.0))


def write_attack(run):
    flags = {attack: torch.tensor([k % 2, 1, 0], dtype=torch.uint8) for k, attack in enumerate(PLAN.attacks())}
    areas = {region: torch.tensor([1.0, 0.25, 0.125], dtype=torch.float64) for region in PLAN.regions}
    right = torch.tensor([1, 0, 1], dtype=torch.uint8)
    fooling = FoolingResult(flags, {attack: 1 - values for attack, values in flags.items()}, right, areas)
    return attack_record.RECORD.write(run, attack_record.attack_content("mini-1", fooling, PLAN, 7, "cpu"))


def write_swap(run):
    names = (*MASSES, MOVED, TOTAL_VARIATION, LARGEST_CHANGE, *AREAS)
    measures = {name: torch.tensor([0.1 * k, 1e-7, 1.0]) for k, name in enumerate(names)}
    measures[MOVED] = torch.tensor([-0.5, 0.0, 1.0])
    right = {name: torch.tensor([1, 0, 1], dtype=torch.uint8) for name in RIGHTS}
    return swap_record.RECORD.write(run, swap_record.swap_content("mini-1", Swap(measures, right), 7, "cpu"))


def test_an_attack_record_is_read_as_it_was_written(tmp_path):
    record = write_attack(tmp_path)
    assert list(record.changed) == list(record.right) == PLAN.attacks()
    assert record.changed[Attack("pgd", "target", 4.0)].tolist() == [True, True, False]
    assert record.right[Attack("pgd", "target", 4.0)].tolist() == [False, False, True]
    assert record.right_before.tolist() == [True, False, True]
    assert record.areas["target"].tolist() == [1.0, 0.25, 0.125]
    assert record.settings == {
        "format": 1,
        "dataset": "mini-1",
        "images": 3,
        "methods": ["pgd"],
        "regions": ["all", "target"],
        "norms": [0.5, 4.0],
        "batch": 7,
        "device": "cpu",
    }
    assert set(METHODS) > set(record.settings["methods"])
    assert set(REGIONS) > set(record.settings["regions"])


def test_a_swap_record_is_read_as_it_was_written(tmp_path):
    record = write_swap(tmp_path)
    assert record.settings == {"format": 1, "dataset": "mini-1", "images": 3, "batch": 7, "device": "cpu"}
    np.testing.assert_allclose(record.measures[LARGEST_CHANGE], [0.6, 1e-7, 1.0], rtol=1e-6)
    assert record.measures[MOVED].tolist() == [-0.5, 0.0, 1.0]
    assert record.right["right2"].tolist() == [True, False, True]


KINDS = {"attack": (attack_record.RECORD, write_attack), "swap": (swap_record.RECORD, write_swap)}
each_kind = pytest.mark.parametrize(("kind", "write"), KINDS.values(), ids=list(KINDS))


@each_kind
def test_a_packed_record_is_read_like_the_original(kind, write, tmp_path):
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
def test_a_missing_or_broken_file_is_named(kind, write, tmp_path):
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
def test_wrong_settings_are_named(kind, write, key, value, tmp_path):
    write(tmp_path)
    settings = json.loads((tmp_path / kind.settings_file).read_text())
    (tmp_path / kind.settings_file).write_text(json.dumps(settings | {key: value}))
    with pytest.raises(DataProblemError, match=r"damaged \(.*(wrong|format is not 1)"):
        kind.read(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("methods", ["nosuch"]), ("methods", []), ("regions", "all"), ("regions", [1]), ("norms", [0]), ("norms", ["1"])],
)
def test_wrong_attacks_are_named(key, value, tmp_path):
    write_attack(tmp_path)
    settings = json.loads((tmp_path / "attack.json").read_text())
    (tmp_path / "attack.json").write_text(json.dumps(settings | {key: value}))
    with pytest.raises(DataProblemError, match=f"{key} missing or wrong"):
        attack_record.RECORD.read(tmp_path)


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
def test_wrong_arrays_are_named(kind, name, values, tmp_path):
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


def test_three_records_have_different_files():
    kinds = (saliency_record.RECORD, attack_record.RECORD, swap_record.RECORD)
    assert len({name for kind in kinds for name in (kind.settings_file, kind.arrays_file, kind.packed_file)}) == 9


@each_kind
def test_a_record_without_files_equals_the_record_that_is_read(kind, write, tmp_path, monkeypatch):
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
