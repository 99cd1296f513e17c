"""The record of tests on other data sets in the folder of a run: `robustness.json` and `robustness.safetensors`.

The arrays of each data set have one value per question, T of them: `<data set>/<split>/right` u1, and, for networks
with a map, `…/pointing` u1, `…/mask_correctness` f2, and `…/mask_correctness_uniform` f2. With several questions about
an image, `…/image` i4 is its index. The answers to the run's own test questions are those of the run. Every number of a
table is derived from both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from torch import Tensor

from bench.evaluation.columns import ACCURACY, MASK_CORRECTNESS, POINTING, UNIFORM
from bench.evaluation.record_keys import IMAGE, RIGHT
from bench.runs.answers import read_answers
from bench.runs.network_loading import read_finished_result
from bench.runs.other_sets import FACTOR_WORDS, Factors
from bench.runs.question_record import Content, StoredRecord, is_flag, is_within
from bench.runs.validation import are_image_indices, is_number, is_text
from mnistref.common.errors import DataProblemError

FORMAT = 1
"""Version of the record. Raise it when a stored number changes its meaning."""
MEASURED = {ACCURACY: RIGHT, MASK_CORRECTNESS: MASK_CORRECTNESS, POINTING: POINTING}
"""Measure → its array."""
_FLAGS = (RIGHT, POINTING)
_OF_MAPS = (POINTING, MASK_CORRECTNESS, UNIFORM)


class TestedSet(TypedDict):
    """A data set that the network was tested on.

    Attributes:
        dataset: folder name.
        split: its split.
        questions: T.
        pairs: number of the first questions that are those of the run's own test set; 0 if the questions differ.
        factors: what the data set is made of.
        note: remark on its law, or "".
        batch: questions per pass.
        device: name of the device.
    """

    dataset: str
    split: str
    questions: int
    pairs: int
    factors: Factors
    note: str
    batch: int
    device: str


class RobustnessSettings(TypedDict):
    """The content of robustness.json.

    Attributes:
        format: `FORMAT`.
        dataset: folder name of the run's own data set.
        factors: what it is made of; {} if it was not there.
        sets: the other data sets.
    """

    format: int
    dataset: str
    factors: Factors | dict[str, object]
    sets: list[TestedSet]


@dataclass(frozen=True)
class RobustnessRecord:
    """What is stored of tests on other data sets, and the run's own answers.

    Attributes:
        settings: the content of robustness.json.
        own: array → f8 (T,), of the run's own test set.
        own_uniform: mean of `mask_correctness_uniform` on it; None for a network without a map.
        others: for each of the data sets, array → f8 (T,).
    """

    settings: RobustnessSettings
    own: Mapping[str, np.ndarray]
    own_uniform: float | None
    others: list[Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class _TestRecord(StoredRecord[RobustnessRecord]):
    """The kind of record that `bench test` writes."""

    @property
    def command(self) -> str:
        """The command that writes the record."""
        return "bench test"

    def write(
        self,
        run: Path,
        folder: Path,
        dataset: str,
        factors: Mapping[str, object],
        tests: list[tuple[TestedSet, dict[str, Tensor]]],
    ) -> RobustnessRecord:
        """Write tests into a folder, and return its record as it is read again.

        Earlier tests on other data sets are kept, and come first.

        Args:
            run: the folder of the run.
            folder: where to write, usually the same.
            dataset: folder name of the run's own data set.
            factors: what it is made of; {} if this is not known.
            tests: each data set and its arrays.
        """
        new = {(tested["dataset"], tested["split"]) for tested, _ in tests}
        earlier = self._read_settings(folder)
        arrays: dict[str, Tensor] = {}
        kept: list[TestedSet] = []
        if earlier is not None and earlier["dataset"] == dataset:
            kept = [tested for tested in earlier["sets"] if (tested["dataset"], tested["split"]) not in new]
            stored = self.read_tensors(folder)
            arrays |= {name: stored[name] for name in stored if tuple(name.split("/")[:2]) not in new}
            factors = factors or earlier["factors"]
        for tested, values in tests:
            arrays |= {f"{tested['dataset']}/{tested['split']}/{name}": tensor for name, tensor in values.items()}
        sets = [*kept, *(tested for tested, _ in tests)]
        settings = {"format": FORMAT, "dataset": dataset, "factors": dict(factors), "sets": sets}
        self.write_files(folder, Content(settings, arrays))
        record = self.read(folder, run)
        assert record is not None
        return record

    def read(self, run: Path, answered: Path | None = None) -> RobustnessRecord | None:
        """Return the record of tests, packed or not; None if there is none.

        Args:
            run: the folder of the record.
            answered: the folder of the run, by default the same.

        Raises:
            DataProblemError: a file is missing or damaged, or the run has no answers of its own.
        """
        settings = self._read_settings(run)
        if settings is None:
            return None
        own = read_own_answers(answered or run)
        tensors = self.read_tensors(run)
        others: list[Mapping[str, np.ndarray]] = []
        wrong = []
        for tested in settings["sets"]:
            prefix = f"{tested['dataset']}/{tested['split']}/"
            names = [name for name in (RIGHT, IMAGE, *_OF_MAPS) if f"{prefix}{name}" in tensors]
            arrays = {name: tensors.pop(f"{prefix}{name}").numpy().astype(np.float64) for name in names}
            wrong += [
                prefix + name for name, values in arrays.items() if not _is_valid(name, values, tested["questions"])
            ]
            of_maps = arrays.keys() - {RIGHT, IMAGE}
            wrong += [prefix + RIGHT] if RIGHT not in arrays or len(of_maps) not in (0, len(_OF_MAPS)) else []
            wrong += [prefix + "pairs"] if tested["pairs"] > len(own[RIGHT]) else []
            others.append(arrays)
        self.require_none(run, [*wrong, *tensors])
        return RobustnessRecord(settings, own, read_finished_result(answered or run).get(UNIFORM), others)

    def _read_settings(self, run: Path) -> RobustnessSettings | None:
        if not (run / self.settings_file).is_file():
            return None
        content = self.parse_settings(
            run, {"dataset": str}, {"factors": lambda value: value == {} or _are_factors(value), "sets": _are_sets}
        )
        return RobustnessSettings(
            format=FORMAT, dataset=content["dataset"], factors=content["factors"], sets=list(content["sets"])
        )


RECORD = _TestRecord("robustness", FORMAT)
"""The kind of this record."""


def read_own_answers(run: Path) -> dict[str, np.ndarray]:
    """Return the answers of a run to its own test questions, array → f8 (T,).

    Raises:
        DataProblemError: the file is damaged, or there is none.
    """
    answers = read_answers(run)
    if answers is None:
        raise DataProblemError(f"{run}: the run has no stored answers to compare with; run it again")
    return {name: answers[name].astype(np.float64) for name in (*MEASURED.values(), IMAGE) if name in answers}


def _is_valid(name: str, values: np.ndarray, questions: int) -> bool:
    if values.shape != (questions,):
        return False
    if name == IMAGE:
        return are_image_indices(values)
    return is_flag(values) if name in _FLAGS else is_within(values, 0, 1.001)


def _are_sets(value: object) -> bool:
    if not isinstance(value, list) or not value or not all(map(_is_set, value)):
        return False
    return len({(tested["dataset"], tested["split"]) for tested in value}) == len(value)


def _is_set(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != set(TestedSet.__annotations__):
        return False
    texts = all(is_text(value[name]) and "/" not in value[name] for name in ("dataset", "split"))
    numbers = all(type(value[name]) is int and value[name] >= 0 for name in ("questions", "pairs", "batch"))
    return (
        texts
        and numbers
        and 0 <= value["pairs"] <= value["questions"] > 0
        and isinstance(value["note"], str)
        and is_text(value["device"])
        and _are_factors(value["factors"])
    )


def _are_factors(value: object) -> bool:
    if not isinstance(value, dict) or {*value, "distractors"} != {*FACTOR_WORDS}:
        return False
    ranges = all(
        isinstance(value[name], list) and len(value[name]) == 2 and all(map(is_number, value[name]))
        for name in ("scales", "digits_per_image")
    )
    texts = all(is_text(value[name]) for name in ("variant", "digits", "pool"))
    photos = value["backgrounds"] is None or is_text(value["backgrounds"])
    return (
        ranges
        and texts
        and photos
        and all(type(value.get(name, 0)) is int for name in ("canvas", "seed", "distractors"))
    )
