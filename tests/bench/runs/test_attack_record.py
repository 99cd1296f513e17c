"""The record of attacks: written, read, and wrong settings."""

import json

import pytest

from bench.attribution.attack_names import METHODS, REGIONS
from bench.attribution.fooling import Attack
from bench.runs import attack_record
from mnistref.common.errors import DataProblemError
from tests.bench.runs.question_cases import PLAN, write_attack


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


@pytest.mark.parametrize(
    ("key", "value"),
    [("methods", ["nosuch"]), ("methods", []), ("regions", "all"), ("regions", [1]), ("norms", [0]), ("norms", ["1"])],
)
def test_wrong_attacks_in_the_settings_of_a_record_are_named(key, value, tmp_path):
    write_attack(tmp_path)
    settings = json.loads((tmp_path / "attack.json").read_text())
    (tmp_path / "attack.json").write_text(json.dumps(settings | {key: value}))
    with pytest.raises(DataProblemError, match=f"{key} missing or wrong"):
        attack_record.RECORD.read(tmp_path)
