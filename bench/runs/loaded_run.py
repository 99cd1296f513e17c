"""`LoadedRun`, a run for Python programs: configuration, result, history, answers and network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from bench.common.json_files import read_json
from bench.config import RunConfig
from bench.data.sets import read_manifest, read_scales, read_triples
from bench.evaluation.columns import ACCURACY, MAP_SCORES, MASK_CORRECTNESS, POINTING
from bench.evaluation.record_keys import ANSWER, RIGHT, SCALE_BIN, UNFINISHED
from bench.runs import records
from bench.runs.data_folder import find_data_folder
from bench.runs.network_loading import load_model
from bench.runs.provenance import READ_ERRORS, parse_config, read_run_without_result
from mnistref.common.errors import DataProblemError, UsageProblemError

ANSWER_COLUMNS = {ANSWER: "prediction", RIGHT: "correct", SCALE_BIN: SCALE_BIN}
"""Name in the file of the answers → column of a table of answers. The measures of maps follow, with the same names."""


_SHOWN = (ACCURACY, MASK_CORRECTNESS, POINTING)
"""Measures in the representation of a run."""


@dataclass(frozen=True)
class LoadedRun:
    """The record of a run.

    Attributes:
        path: the folder.
        config: configuration of the run.
        result: content of result.json: `status`, and the measures if it is "ok". The status of a run without
            result.json is "unfinished".
        history: one row per epoch, as in history.jsonl; empty if there is none.
        data: folder of the run's data set; None if it is not on this machine.
    """

    path: Path
    config: RunConfig
    result: records.Result
    history: pd.DataFrame = field(repr=False)
    data: Path | None
    _stored: pd.DataFrame = field(repr=False)

    def __repr__(self) -> str:
        measures: Mapping[str, object] = self.result
        known = [f"{name}={measures[name]:.4f}" for name in _SHOWN if measures.get(name) is not None]
        epochs, questions = len(self.history), len(self._stored)
        lengths = [f"{epochs} epoch{'s' * (epochs != 1)}", f"{questions} question{'s' * (questions != 1)}"]
        parts = [repr(self.path.name), *(known or [str(self.result["status"])]), *lengths]
        return f"{type(self).__name__}({', '.join(parts)})"

    @cached_property
    def answers(self) -> pd.DataFrame:
        """One row per test question, in the order of the questions; empty if the answers are not stored.

        The columns are those of `bench.evaluate`: `image`, `query`, `label` and `scale`, from the data set; and from
        the record `prediction`, `correct`, `scale_bin`, and the measures of the map, rounded to half precision. Without
        the data set (`data` is None), the first four are missing. The data set is read on first access.

        Raises:
            DataProblemError: a file of the data set is damaged, or its questions are not those of the run.
        """
        if self.data is None or not len(self._stored):
            return self._stored
        questions = _tabulate_questions(self.data, self.config.queries)
        right = self._stored["prediction"] == questions["label"] if len(questions) == len(self._stored) else None
        if right is None or not (right == self._stored["correct"]).all():
            raise DataProblemError(f"{self.data}: its test questions are not those of {self.path}; delete the data set")
        return questions.join(self._stored)

    @cached_property
    def model(self) -> nn.Module:
        """The trained network in evaluation mode, on the CPU. It is loaded on first access.

        Raises:
            UsageProblemError: a file of the user is missing or has changed.
            DataProblemError: the run is not finished, or has no weights, or they are damaged.
        """
        return load_model(self.path)[1]


def load_run(path: str | Path, *, data: str | Path | None = None, root: str | Path = "data_cache") -> LoadedRun:
    """Return the record of a run, of this machine or of a stored board. The network is loaded when it is used.

    Args:
        path: the folder of the run, or its config.json.
        data: the folder of the run's data set, for columns of `LoadedRun.answers`. By default it is looked for in the
            root that the run is in, in `root`, and where it was when the run began.
        root: folder of data sets.

    Raises:
        UsageProblemError: the folder is not a run, or `data` is not its data set.
        DataProblemError: a file of the run is damaged.
    """
    folder = Path(path)
    if folder.name == records.CONFIG and folder.is_file():
        folder = folder.parent
    file = folder / records.CONFIG
    records.require_run(folder)
    try:
        config = parse_config(records.split_config(read_json(file))[0])
        result = records.read_result(folder) or read_run_without_result(folder, UNFINISHED)
    except (*READ_ERRORS, FileNotFoundError) as error:
        raise records.build_damage_error(file, error) from error
    records.require_same_run(folder, result, config)
    answers = records.read_answers(folder)
    history = pd.DataFrame(records.read_history(folder))
    if data is not None:
        _require_data_of_run(Path(data), config)
    found = find_data_folder(folder, config.dataset, Path(root)) if data is None else Path(data)
    stored = tabulate_answers(answers or {})
    return LoadedRun(folder, config, result, history=history, data=found, _stored=stored)


def _require_data_of_run(data: Path, config: RunConfig) -> None:
    """Raise UsageProblemError unless a folder is the data set of a run."""
    name = read_manifest(data).folder_name
    if name != config.dataset:
        raise UsageProblemError(f"{data}: this is {name}, and the run is on {config.dataset}; give the run's data set")


def _tabulate_questions(data: Path, queries: str) -> pd.DataFrame:
    """Return the test questions of a data set as a table with one row per question. Tasks have no scales."""
    questions = read_triples(data, "test", queries)
    columns = {name: getattr(questions, name) for name in ("image", "query", "label")}
    scales = read_scales(data, "test", questions)
    return pd.DataFrame(columns if scales is None else {**columns, "scale": scales}).rename_axis("question")


def tabulate_answers(answers: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return answers, see `bench.evaluation.evaluate.TestResult`, as a table with one row per question."""
    others = [name for name in (*MAP_SCORES, *sorted(answers)) if name not in ANSWER_COLUMNS]
    names = ANSWER_COLUMNS | {name: name for name in others}
    table = pd.DataFrame({names[name]: answers[name] for name in names if name in answers})
    halves = dict.fromkeys(table.columns[table.dtypes == np.float16], np.float32)  # pandas cannot print f2
    return table.astype({**halves, **({"correct": bool} if len(table.columns) else {})}).rename_axis("question")
