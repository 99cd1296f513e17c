"""The meaning of a result, with and without questions: its fields, and its measures of fixed answers and maps.

A change of the meaning needs a new `RESULT_FORMAT`. A new field does not, because results that lack it mean what they
meant. `python -m tests.integration.test_result_format RUN …` then writes the golden files again.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.split import Resident
from bench.evaluation.evaluate import test as evaluate
from bench.model import Output
from bench.runs import experiment, records
from bench.runs.validation import RESULT_FORMAT
from mnistref.variants import get_variant
from tests.bench.runs.helpers import SHORT, configured

GOLDEN = {
    True: Path(__file__).with_name("result_format.json"),
    False: Path(__file__).with_name("result_format_without_question.json"),
}
"""Whether images come with questions → the golden file of such results."""
QUESTIONS, SIZE = 60, 24


class Recorded(torch.nn.Module):
    """A network whose answers and maps are given."""

    def __init__(self, logits: torch.Tensor, masks: list[torch.Tensor]) -> None:
        super().__init__()
        self.logits, self.masks, self.first = logits, masks, 0

    def forward(self, images: torch.Tensor, query: torch.Tensor | None = None) -> Output:
        rows = slice(self.first, self.first + len(images))
        self.first = rows.stop
        return Output(self.logits[rows], [mask[rows] for mask in self.masks], slots=(1, 2))


def measures(asks: bool) -> dict:
    """Return the measures of answers about 60 images with up to three digits, and of two maps of odd sizes.

    Args:
        asks: whether each image has a question with one of five answers. Otherwise, its label is one of ten classes.
    """
    rng, classes = np.random.default_rng(3), 5 if asks else 10

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
        label=integers(0, classes, QUESTIONS),
        scale=torch.from_numpy(rng.uniform(0.5, 3, QUESTIONS).astype(np.float32)),
        images=torch.zeros(QUESTIONS, SIZE, SIZE, 3, dtype=torch.uint8),
        instance=instance,
        asks=asks,
    )
    logits = torch.from_numpy(rng.normal(size=(QUESTIONS, classes)))
    logits[torch.arange(0, QUESTIONS, 2), split.label[::2]] += 3
    first = torch.from_numpy(rng.random((QUESTIONS, 1, 12, 12), np.float32))
    last = torch.from_numpy(rng.random((QUESTIONS, 1, 5, 5), np.float32) ** 4)
    last /= last.sum((2, 3), keepdim=True)
    return evaluate(Recorded(logits, [first, last]), split, 25).measures


def asks_of(folder: Path) -> bool:
    """Return whether the images of a run come with questions."""
    return get_variant(records.read_result(folder)["variant"]).asks


def description(folder: Path) -> dict:
    """Return the content of a golden file: the format, names and types of a real result, and the measures above."""
    result = records.read_result(folder)
    names = {name: type(value).__name__ for name, value in result.items()}
    return {"result_format": RESULT_FORMAT, "fields": names, "measures": measures(asks_of(folder))}


def changed(now: dict, golden: dict) -> list[str]:
    """Return the names of the fields and measures of the golden file that are gone, or have another type or value."""
    wrong = {name for name, kind in golden["fields"].items() if now["fields"].get(name) != kind}
    wrong |= golden["measures"].keys() - now["measures"].keys()
    for name in golden["measures"].keys() - wrong:
        value, known = now["measures"][name], golden["measures"][name]
        if isinstance(value, dict):
            value, known = (np.array([*x.values()]) for x in (value, known))
        wrong |= set() if value == pytest.approx(known, rel=1e-4, abs=1e-6) else {name}
    return sorted(wrong)


def added(now: dict, golden: dict) -> list[str]:
    """Return the names of the fields and measures that the golden file lacks."""
    return sorted({name for part in ("fields", "measures") for name in now[part].keys() - golden[part].keys()})


@pytest.fixture(scope="module")
def finished(mini, make, tmp_path_factory) -> dict[bool, Path]:
    """Return a finished run on images with questions, and one on images without."""
    mone = make("mone", sizes={"train": 60, "val": 20, "test": 20}, canvas=32, scales=(0.5, 1.0), distractors=1)
    runs = tmp_path_factory.mktemp("runs")
    return {
        asks: experiment.run(configured(data, attn, replace(SHORT, epochs=1)), data, runs)
        for asks, data, attn in ((True, mini, "pan"), (False, mone, "san"))
    }


@pytest.mark.parametrize("asks", GOLDEN)
def test_the_meaning_of_a_result_changes_only_with_its_format(asks, finished):
    golden, now = json.loads(GOLDEN[asks].read_text(encoding="utf-8")), description(finished[asks])
    raised = now["result_format"] != golden["result_format"]
    wrong = changed(now, golden)
    assert not wrong or raised, f"{', '.join(wrong)} changed: raise RESULT_FORMAT, and write the golden files again"
    assert not raised, "write the golden files again"
    assert added(now, golden) == [], "write the golden files again"


def test_results_without_questions_have_fields_of_their_own(finished):
    with_questions, without = (set(description(finished[asks])["fields"]) for asks in GOLDEN)
    assert without - with_questions == {"step_over_none", "top5"}


@pytest.mark.parametrize("name", ["accuracy", "mask_correctness", "tpr", "pointing", "pr_area", "n_scale_0.5_1.0"])
def test_a_changed_measure_of_a_result_is_noticed(name, finished):
    now = description(finished[True])
    other = {**now, "measures": {**now["measures"], name: now["measures"][name] * 1.001}}
    assert changed(now, now) == added(now, now) == []
    assert (changed(other, now), added(other, now)) == ([name], [])


def test_a_field_of_a_result_that_is_missing_of_another_type_or_new_is_noticed(finished):
    now = description(finished[False])
    fewer = {**now, "fields": {name: kind for name, kind in now["fields"].items() if name != "top5"}}
    assert (changed(fewer, now), added(fewer, now)) == (["top5"], [])
    assert changed({**now, "fields": {**now["fields"], "seconds": "str"}}, now) == ["seconds"]
    assert (changed(now, fewer), added(now, fewer)) == ([], ["top5"])
    less = {**now, "measures": {name: value for name, value in now["measures"].items() if name != "pr_curve"}}
    assert (changed(less, now), added(now, less)) == (["pr_curve"], ["pr_curve"])


def main(folders: list[Path]) -> int:
    """Write the golden files, unless the meaning changed and RESULT_FORMAT did not."""
    for folder in folders:
        now, path = description(folder), GOLDEN[asks_of(folder)]
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else now
        if (wrong := changed(now, before)) and before["result_format"] == RESULT_FORMAT:
            print(f"{', '.join(wrong)} changed: raise RESULT_FORMAT first", file=sys.stderr)
            return 1
        path.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.integration.test_result_format RUN …, runs of pan on mini and of san on mone")
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
