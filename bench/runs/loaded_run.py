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
from bench.evaluation.columns import MAP_SCORES
from bench.runs import records
from bench.runs.network_loading import load_model
from bench.runs.provenance import READ_ERRORS, parse_config, read_run_without_result

ANSWER_COLUMNS = {"answer": "prediction", "right": "correct", "scale_bin": "scale_bin"}
"""Name in the file of the answers → column of a table of answers. The measures of maps follow, with the same names."""


@dataclass(frozen=True)
class LoadedRun:
    """The record of a run.

    Attributes:
        path: the folder.
        config: configuration of the run.
        result: content of result.json: `status`, and the measures if it is "ok". The status of a run without
            result.json is "unfinished".
        history: one row per epoch, as in history.jsonl; empty if there is none.
        answers: one row per test question, in the order of the questions: `prediction`, `correct`, `scale_bin`, and the
            measures of its map, rounded to half precision; empty if the answers are not stored.
    """

    path: Path
    config: RunConfig
    result: records.Result
    history: pd.DataFrame = field(repr=False)
    answers: pd.DataFrame = field(repr=False)

    @cached_property
    def model(self) -> nn.Module:
        """The trained network in evaluation mode, on the CPU. It is loaded on first access.

        Raises:
            UsageProblemError: a file of the user is missing or has changed.
            DataProblemError: the run is not finished, or has no weights, or they are damaged.
        """
        return load_model(self.path)[1]


def load_run(path: str | Path) -> LoadedRun:
    """Return the record of a run, of this machine or of a stored board. The network is loaded when it is used.

    Args:
        path: the folder of the run, or its config.json.

    Raises:
        UsageProblemError: the folder is not a run.
        DataProblemError: a file of the run is damaged.
    """
    folder = Path(path)
    if folder.name == records.CONFIG and folder.is_file():
        folder = folder.parent
    file = folder / records.CONFIG
    records.require_run(folder)
    try:
        config = parse_config(records.split_config(read_json(file))[0])
        result = records.read_result(folder) or read_run_without_result(folder, "unfinished")
    except (*READ_ERRORS, FileNotFoundError) as error:
        raise records.build_damage_error(file, error) from error
    records.require_same_run(folder, result, config)
    answers = records.read_answers(folder)
    history = pd.DataFrame(records.read_history(folder))
    return LoadedRun(folder, config, result, history, tabulate_answers(answers or {}))


def tabulate_answers(answers: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return answers, see `bench.evaluation.evaluate.TestResult`, as a table with one row per question."""
    others = [name for name in (*MAP_SCORES, *sorted(answers)) if name not in ANSWER_COLUMNS]
    names = ANSWER_COLUMNS | {name: name for name in others}
    table = pd.DataFrame({names[name]: answers[name] for name in names if name in answers})
    halves = dict.fromkeys(table.columns[table.dtypes == np.float16], np.float32)  # pandas cannot print f2
    return table.astype({**halves, **({"correct": bool} if len(table.columns) else {})}).rename_axis("question")
