"""The meaning of the stored numbers of attacks, swapped questions and map methods, which are versioned.

`python -m tests.integration.test_question_formats` writes the golden file again, after a FORMAT was raised.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bench.runs import attack_record, saliency_record, swap_record
from tests.bench.runs.measured_questions import QUESTIONS, write_attack, write_saliency, write_swap

GOLDEN = Path(__file__).with_name("question_formats.json")
RECORDS = {"attack": attack_record, "swap": swap_record, "saliency": saliency_record}
TOLERANCE = 1e-3
"""Above the rounding error of an array in half precision."""

WRITERS = {"attack": write_attack, "swap": write_swap, "saliency": write_saliency}


def describe(kind: str, run: Path) -> dict:
    """Return the format of a record, the types of its settings, and its arrays for the questions above."""
    WRITERS[kind](run)
    module = RECORDS[kind]
    settings = json.loads((run / module.RECORD.settings_file).read_text(encoding="utf-8"))
    return {
        "format": module.FORMAT,
        "settings": {name: type(value).__name__ for name, value in settings.items()},
        "arrays": {
            name: np.round(values.astype(np.float64), 6).tolist()
            for name, values in sorted(module.RECORD.read_arrays(run, QUESTIONS).items())
        },
    }


def find_differences(now: dict, golden: dict) -> list[str]:
    """Return the names of the settings and arrays that differ."""
    wrong = {
        name
        for name in now["settings"].keys() | golden["settings"].keys()
        if now["settings"].get(name) != golden["settings"].get(name)
    }
    for name in now["arrays"].keys() | golden["arrays"].keys():
        values, known = now["arrays"].get(name), golden["arrays"].get(name)
        if values is None or known is None or values != pytest.approx(known, rel=0, abs=TOLERANCE):
            wrong.add(name)
    return sorted(wrong)


@pytest.mark.parametrize("kind", RECORDS)
def test_the_meaning_of_a_record_changes_only_with_its_format(kind, tmp_path):
    golden, now = json.loads(GOLDEN.read_text(encoding="utf-8"))[kind], describe(kind, tmp_path)
    changed, raised = find_differences(now, golden), now["format"] != golden["format"]
    module = RECORDS[kind].__name__
    assert not changed or raised, f"{', '.join(changed)} changed: raise FORMAT of {module}, and write the golden file"
    assert not raised, f"write {GOLDEN.name} again"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("attack", "fgsm/target/2/changed"),
        ("attack", "pgd/all/2/right"),
        ("attack", "area/others"),
        ("swap", "moved"),
        ("swap", "right2"),
        ("saliency", "attention/mask_correctness"),
        ("saliency", "oracle/deletion"),
        ("saliency", "right"),
    ],
)
def test_a_changed_array_of_a_record_is_noticed(kind, name, tmp_path):
    now = describe(kind, tmp_path)
    assert find_differences(now, now) == []
    for values in ([1 - value for value in now["arrays"][name]], now["arrays"][name][:-1]):
        assert find_differences({**now, "arrays": {**now["arrays"], name: values}}, now) == [name]
    fewer = {key: values for key, values in now["arrays"].items() if key != name}
    assert find_differences({**now, "arrays": fewer}, now) == [name]


@pytest.mark.parametrize("kind", RECORDS)
def test_a_setting_of_a_record_of_another_type_is_noticed(kind, tmp_path):
    now = describe(kind, tmp_path)
    assert find_differences({**now, "settings": {**now["settings"], "batch": "float"}}, now) == ["batch"]


def test_the_golden_answers_are_neither_all_right_nor_all_wrong():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for kind, names in {"attack": ("right", "fgsm/all/2/changed"), "swap": ("right1", "right2")}.items():
        for name in names:
            assert 0 < sum(golden[kind]["arrays"][name]) < QUESTIONS


def main() -> int:
    """Write the golden file, unless the meaning of a record changed and its FORMAT did not."""
    with tempfile.TemporaryDirectory() as folder:
        now = {kind: describe(kind, Path(folder)) for kind in RECORDS}
    before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else now
    for kind in RECORDS:
        changed = find_differences(now[kind], before[kind])
        if changed and now[kind]["format"] == before[kind]["format"]:
            print(f"{kind}: {', '.join(changed)} changed: raise FORMAT first", file=sys.stderr)
            return 1
    GOLDEN.write_text(json.dumps(now, separators=(",", ":")).replace("],", "],\n") + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
