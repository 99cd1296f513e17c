"""The meaning of a result: its measures of fixed answers and maps. A change of it needs a new `RESULT_FORMAT`.

`python -m tests.integration.test_result_format` writes the golden file again, after RESULT_FORMAT was raised.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.split import Resident
from bench.evaluation.evaluate import test as evaluate
from bench.model import Output
from bench.runs import experiment, records
from bench.runs.validation import RESULT_FORMAT
from tests.bench.runs.helpers import configured

GOLDEN = Path(__file__).with_name("result_format.json")
QUESTIONS, SIZE = 60, 24


class Recorded(torch.nn.Module):
    """A network whose answers and maps are given."""

    def __init__(self, logits: torch.Tensor, masks: list[torch.Tensor]) -> None:
        super().__init__()
        self.logits, self.masks, self.first = logits, masks, 0

    def forward(self, images: torch.Tensor, query: torch.Tensor) -> Output:
        rows = slice(self.first, self.first + len(images))
        self.first = rows.stop
        return Output(self.logits[rows], [mask[rows] for mask in self.masks], slots=(1, 2))


def measures() -> dict:
    """Return the measures of 60 questions about images with up to three digits, of two maps of odd sizes."""
    rng = np.random.default_rng(3)

    def integers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(low, high, shape))

    instance = torch.zeros(QUESTIONS, SIZE, SIZE, dtype=torch.uint8)
    for image in range(QUESTIONS):
        for digit in range(3):
            top, left, side = rng.integers(0, SIZE - 6), rng.integers(0, SIZE - 6), rng.integers(3, 7)
            instance[image, top : top + side, left : left + side] = digit + 1
    instance[torch.arange(QUESTIONS), 0, :3] = torch.tensor([1, 2, 3], dtype=torch.uint8)  # every digit occurs
    split = Resident(
        image=torch.arange(QUESTIONS),
        slot=integers(0, 3, QUESTIONS),
        query=integers(0, 10, QUESTIONS),
        label=integers(0, 5, QUESTIONS),
        scale=torch.from_numpy(rng.uniform(0.5, 3, QUESTIONS).astype(np.float32)),
        images=torch.zeros(QUESTIONS, SIZE, SIZE, 3, dtype=torch.uint8),
        instance=instance,
    )
    logits = torch.from_numpy(rng.normal(size=(QUESTIONS, 5)))
    logits[torch.arange(0, QUESTIONS, 2), split.label[::2]] += 3
    first = torch.from_numpy(rng.random((QUESTIONS, 1, 12, 12), np.float32))
    last = torch.from_numpy(rng.random((QUESTIONS, 1, 5, 5), np.float32) ** 4)
    last /= last.sum((2, 3), keepdim=True)
    return evaluate(Recorded(logits, [first, last]), split, 25).measures


def description(folder: Path) -> dict:
    """Return what the golden file holds: the format, the names and types of a real result, and the measures above."""
    result = records.read_result(folder)
    names = {name: type(value).__name__ for name, value in result.items()}
    return {"result_format": RESULT_FORMAT, "fields": names, "measures": measures()}


def difference(now: dict, golden: dict) -> list[str]:
    """Return the names of the fields and measures that differ."""
    names = now["fields"].keys() | golden["fields"].keys() | now["measures"].keys() | golden["measures"].keys()
    wrong = {name for name in names if now["fields"].get(name) != golden["fields"].get(name)}
    for name in now["measures"].keys() & golden["measures"].keys():
        value, known = now["measures"][name], golden["measures"][name]
        if isinstance(value, dict):
            value, known = (np.array([*x.values()]) for x in (value, known))
        wrong |= set() if value == pytest.approx(known, rel=1e-4, abs=1e-6) else {name}
    return sorted(wrong | (now["measures"].keys() ^ golden["measures"].keys()))


@pytest.fixture(scope="module")
def finished(mini, tmp_path_factory) -> Path:
    return experiment.run(configured(mini, "pan"), mini, tmp_path_factory.mktemp("runs"))


def test_the_meaning_of_a_result_changes_only_with_its_format(finished):
    golden, now = json.loads(GOLDEN.read_text(encoding="utf-8")), description(finished)
    changed = difference(now, golden)
    raised = now["result_format"] != golden["result_format"]
    assert not changed or raised, f"{', '.join(changed)} changed: raise RESULT_FORMAT, and write the golden file again"
    assert not raised, f"write {GOLDEN.name} again"


@pytest.mark.parametrize("name", ["accuracy", "mask_correctness", "tpr", "pointing", "pr_area", "n_scale_0.5_1.0"])
def test_a_changed_measure_of_a_result_is_noticed(name, finished):
    now = description(finished)
    changed = {**now, "measures": {**now["measures"], name: now["measures"][name] * 1.001}}
    assert difference(now, now) == []
    assert difference(changed, now) == [name]


def test_a_field_of_a_result_that_is_missing_or_of_another_type_is_noticed(finished):
    now = description(finished)
    fewer = {name: kind for name, kind in now["fields"].items() if name != "train_step_ms"}
    assert difference({**now, "fields": fewer}, now) == ["train_step_ms"]
    assert difference({**now, "fields": {**now["fields"], "seconds": "str"}}, now) == ["seconds"]


def main(folder: Path) -> int:
    """Write the golden file, unless the meaning changed and RESULT_FORMAT did not."""
    now = description(folder)
    before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else now
    if difference(now, before) and before["result_format"] == RESULT_FORMAT:
        print(f"{', '.join(difference(now, before))} changed: raise RESULT_FORMAT first", file=sys.stderr)
        return 1
    GOLDEN.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.integration.test_result_format FOLDER_OF_A_FINISHED_RUN_OF_PAN_ON_MINI")
    sys.exit(main(Path(sys.argv[1])))
