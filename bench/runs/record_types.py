"""Types of the records of a run: result.json, and what is added to it when it is read."""

from typing import NotRequired, TypedDict

import numpy as np

from bench.config import RunConfig
from mnistref.spec_records import RequestRecord


class DatasetIdentity(TypedDict):
    """The data set of a result: its id, and the names of its sources, which runs without a result do not know."""

    spec_id: str
    digits: NotRequired[str | None]
    backgrounds: NotRequired[str | None]


class ResultHeader(TypedDict):
    """The entries of every result.

    Attributes:
        status: "ok", "diverged" or "failed"; for runs without a valid result.json "unfinished" or "damaged".
        attn: canonical name of the network.
        variant: variant of the data set.
        seed: seed of the run.
        recipe: how the network was trained, see `bench.config.RunConfig.training`.
        queries: which questions were used.
        dataset: the data set.
        device: name of the GPU, or "cpu".
        precision: arithmetic of the products.
        bench_version: version of bench.
    """

    status: str
    attn: str
    variant: str
    seed: int
    recipe: str
    queries: str
    dataset: DatasetIdentity
    device: str
    precision: str
    bench_version: str


ScaleMeasures = TypedDict(
    "ScaleMeasures",
    {
        "accuracy_scale_0.5_1.0": float | None,
        "n_scale_0.5_1.0": int | None,
        "accuracy_scale_1.0_1.5": float | None,
        "n_scale_1.0_1.5": int | None,
        "accuracy_scale_1.5_2.0": float | None,
        "n_scale_1.5_2.0": int | None,
        "accuracy_scale_2.0_2.5": float | None,
        "n_scale_2.0_2.5": int | None,
        "accuracy_scale_2.5_3.0": float | None,
        "n_scale_2.5_3.0": int | None,
    },
    total=False,
)
"""The entries `bench.evaluation.columns.SCALES` and `COUNTS`: accuracy and number of questions in each scale bin."""


class Measures(ScaleMeasures, total=False):
    """The measures of a run that succeeded. Metrics of maps are None for a network without attention.

    A model that was tested only, see `bench.runs.evaluated`, has no costs, and `params` only if it is a module.

    Attributes:
        top5: only of images without a question, with more than five classes.
        step_over_none: only of images without a question.
        pr_curve: the precision-recall curve, which is not validated.
        diagonal_lstm: implementations of the diagonal LSTM that ran; None if none did.
    """

    accuracy: float
    n_test: int
    top5: float | None
    mask_correctness_uniform: float | None
    mask_correctness: float | None
    tpr: float | None
    pointing: float | None
    pr_area: float | None
    pr_curve: object
    train_step_ms: float | None
    infer_ms_per_image: float | None
    peak_memory_mb: float | None
    timing_batch: int
    timing_rounds: int
    threads: int
    relative_runtime: float | None
    step_over_none: float | None
    epochs: int | None
    best_epoch: int | None
    val_accuracy: float | None
    params: int
    diagonal_lstm: str | None


class Result(ResultHeader, Measures, total=False):
    """The content of result.json, checked by `bench.runs.validation.check_result`.

    Attributes:
        note: remark on the variant.
        reason: why the run failed or diverged.
        capture: how a step was issued to the device. Early versions omit it.
        seconds: duration of the run.
        result_format: see `bench.runs.validation.RESULT_FORMAT`. Early versions omit it.
    """

    note: str | None
    reason: str
    capture: str | None
    seconds: float
    result_format: int


class HistoryEntry(TypedDict, total=False):
    """A line of history.jsonl, the record of an epoch, as it is read. Its values are not validated."""

    epoch: object
    questions: object
    train_accuracy: object
    val_accuracy: object
    device_seconds: object


class RunFacts(TypedDict, total=False):
    """What other files of a run say about it. Entries are missing if a file is missing or damaged.

    Attributes:
        answers: arrays by name, see `bench.evaluation.evaluate.TestResult`; None if the run has none.
        config: configuration of the run.
        request: how the data set is generated again; None if it was not recorded.
        init_run: name of the run with the initial weights, or None.
        hardware: the GPU, or the processor with the numbers of processes and threads.
        commit: commit of the code, or None.
        questions_seen: number of training questions of all epochs, or of images without a question; None if a record
            of an early version does not say it.
        device_hours: hours of the training steps on all devices, see `bench.training.epoch.device_clock`; likewise.
    """

    answers: dict[str, np.ndarray] | None
    config: RunConfig
    request: RequestRecord | None
    init_run: str | None
    hardware: str
    commit: str | None
    questions_seen: int | None
    device_hours: float | None


class RunRecord(Result, RunFacts):
    """A run as boards and reports need it. `run` is the name of its folder."""

    run: str
