"""The table of columns: name, number format, direction, headings and documentation of each. Pure.

The CSV of a board, its text table, the HTML report and `bench runtime` derive from `COLUMNS`. To add a column, add one
entry. The names are also the keys of result.json. `MAP_METRICS`, `MAP_SCORES` and `COSTS` derive from flags of the
entries.
"""

from typing import Final

from bench.common.number_format import amount, chance, count, percent, points, rounded, scientific
from bench.evaluation.column import (
    BOUNDS,
    SHARE_RANGE,
    Column,
    map_share,
    percentage,
    ratio_of_times,
    shared_setting,
    with_suffixes,
)
from mnistref.spec import SCALE_BIN_NAMES

SCALES = tuple(f"accuracy_scale_{name}" for name in SCALE_BIN_NAMES)
"""Accuracy in each scale bin."""
COUNTS = tuple(f"n_scale_{name}" for name in SCALE_BIN_NAMES)
"""Number of questions in each scale bin."""

VARIANT: Final = "variant"
ATTN: Final = "attn"
ACCURACY: Final = "accuracy"
N_TEST: Final = "n_test"
TOP5: Final = "top5"
ERROR: Final = "error"
RANK, SEEDS, BASELINE_NAME, DIFFERENCE, P_VALUE = "rank", "seeds", "baseline", "difference", "p_value"
MASK_CORRECTNESS: Final = "mask_correctness"
UNIFORM: Final = "mask_correctness_uniform"
POINTING: Final = "pointing"
TPR, PR_AREA = "tpr", "pr_area"
RELATIVE_RUNTIME: Final = "relative_runtime"
TRAIN_STEP_MS: Final = "train_step_ms"
INFER_MS = "infer_ms_per_image"
OVER_NONE: Final = "step_over_none"
STEP_RATIOS = {"san": "over_san", "pan-ctx": "over_pan_ctx", "none": OVER_NONE}
"""Baseline of `bench runtime` → the column with the ratio of the training steps to it."""
INFER_RATIOS = {"san": "infer_over_san", "none": "infer_over_none"}
"""Baseline of `bench runtime` → the column with the ratio of inference to it."""
PEAK_MEMORY_MB, SAVED_MB = "peak_memory_mb", "saved_mb"
QUESTIONS_SEEN: Final = "questions_seen"
DEVICE_HOURS: Final = "device_hours"
LOGITS_ERROR, GRADIENT_ERROR, PARAMS = "logits_error", "gradient_error", "params"
PUBLISHED_ACCURACY, PUBLISHED_SOURCE, DELTA = "published_accuracy", "published_source", "delta"
STATUS: Final = "status"
RECIPE: Final = "recipe"
QUERIES: Final = "queries"
DATASET: Final = "dataset"
DIGITS, BACKGROUNDS, HARDWARE, CAPTURE = "digits", "backgrounds", "hardware", "capture"
DEVICE: Final = "device"
PRECISION: Final = "precision"
DIAGONAL_LSTM: Final = "diagonal_lstm"
BENCH_VERSION: Final = "bench_version"
COMMITS, NOTE, COMMAND = "commits", "note", "command"

_OVER_NONE_DOC = "Time of a training step on images without a question, divided by that of none in the same network."
COLUMNS = (
    Column(
        RANK,
        "1 + the number of significantly better rows with the same data set, recipe and queries.",
        number_format=count,
        higher_is_better=False,
        report_heading="rank",
        text_heading="#",
        integer=True,
    ),
    Column(VARIANT, "Variant of the data set.", report_heading="variant"),
    Column(
        ATTN,
        "Attention mechanisms of the slots of the network, from the first to the last.",
        report_heading="mechanism",
        text_heading="attn",
        runtime_heading="network",
    ),
    Column(
        SEEDS,
        "Number of seeds: finished runs whose numbers are averaged.",
        number_format=count,
        higher_is_better=True,
        report_heading="seeds",
        text_heading="seeds",
        integer=True,
    ),
    Column(
        ACCURACY,
        "Share of correct answers on the test split, with its 95 % interval.",
        number_format=percent,
        higher_is_better=True,
        report_heading="accuracy, %",
        text_heading="accuracy %",
        bounded=True,
        value_range=SHARE_RANGE,
    ),
    *(
        percentage(name, doc, higher_is_better=better, report_heading=f"{heading}, %", text_heading=f"{heading} %")
        for name, heading, better, doc in (
            (
                TOP5,
                "top-5",
                True,
                "Share of the images without a question whose class is among the five most probable.",
            ),
            (ERROR, "error", False, "Top-1 error of images without a question: 1 − accuracy."),
        )
    ),
    Column(BASELINE_NAME, "Mechanism that the others are compared with.", report_heading="baseline", setting=True),
    Column(
        DIFFERENCE,
        "Accuracy minus that of the baseline, over the seeds that both have, with its 95 % interval.",
        number_format=points,
        higher_is_better=True,
        report_heading="−\u00a0baseline, points",
        text_heading="− {baseline}",
        bounded=True,
    ),
    Column(
        P_VALUE,
        "Probability of a difference of at least this size if both are equally good (sign-flip test).",
        number_format=chance,
        higher_is_better=False,
        report_heading="p",
        text_heading="p",
    ),
    *(
        Column(
            scale,
            f"Accuracy on digits of scale {name.replace('_', ' to ')}.",
            percent,
            True,
            bounded=True,
            value_range=SHARE_RANGE,
        )
        for scale, name in zip(SCALES, SCALE_BIN_NAMES, strict=True)
    ),
    *(
        Column(n, f"Number of questions about digits of scale {name.replace('_', ' to ')}.", count, integer=True)
        for n, name in zip(COUNTS, SCALE_BIN_NAMES, strict=True)
    ),
    map_share(
        MASK_CORRECTNESS,
        "Share of the attention that lies on the queried digit, 0–1.",
        report_heading="mask correctness",
        text_heading="mask",
        bounded=True,
    ),
    map_share(
        UNIFORM,
        "Mask correctness of a uniform map.",
        report_heading="uniform",
        text_heading="uniform map",
        above_text=True,
    ),
    *(
        map_share(name, doc, report_heading=heading, text_heading=heading, bounded=bounded)
        for name, heading, bounded, doc in (
            (TPR, "TPR", True, "True-positive ratio: mask correctness of the last slot's map alone, 0–1."),
            (POINTING, "pointing", True, "Share of the questions whose maps’ maximum lies on the queried digit, 0–1."),
            (PR_AREA, "PR area", False, "Average precision of the maps’ pixels: the area below their curve, 0–1."),
        )
    ),
    ratio_of_times(
        RELATIVE_RUNTIME,
        "Time of a step of `train_step_ms` divided by that of san in the same network with the same width.",
        report_heading="step, ×\u00a0san",
        text_heading="× san",
        is_cost=True,
    ),
    ratio_of_times(
        OVER_NONE,
        _OVER_NONE_DOC,
        report_heading="step, ×\u00a0none",
        text_heading="× none",
        runtime_heading="/ none",
        quartiles=True,
    ),
    Column(
        TRAIN_STEP_MS,
        "Median time of a training step with one question about each image, as in the papers.",
        number_format=amount,
        higher_is_better=False,
        report_heading="step, ms",
        text_heading="step ms",
        runtime_heading="step, ms",
        quartiles=True,
        is_cost=True,
    ),
    *(
        ratio_of_times(
            name,
            f"Time of a training step over that of {baseline}, round by round.",
            runtime_heading=f"/ {baseline}",
            on_board=False,
            quartiles=True,
        )
        for baseline, name in STEP_RATIOS.items()
        if name != OVER_NONE
    ),
    Column(
        INFER_MS,
        "Median time of inference per image.",
        amount,
        False,
        "inference, ms",
        runtime_heading="inference, ms an image",
        quartiles=True,
        is_cost=True,
    ),
    *(
        ratio_of_times(
            name,
            f"Time of inference over that of {baseline}, round by round.",
            runtime_heading=f"/ {baseline}",
            on_board=False,
        )
        for baseline, name in INFER_RATIOS.items()
    ),
    Column(
        PEAK_MEMORY_MB,
        "Peak memory of a step of `train_step_ms`, in addition to weights and data.",
        amount,
        False,
        "memory, MB",
        runtime_heading="peak, MB",
        runtime_format=rounded,
        is_cost=True,
    ),
    *(
        Column(name, doc, number_format, False, runtime_heading=heading, on_board=False)
        for name, heading, number_format, doc in (
            (SAVED_MB, "saved, MB", rounded, "Memory that the forward pass saves for the gradients."),
            (LOGITS_ERROR, "error of logits", scientific, "Relative error of the logits, compared with fp64."),
            (GRADIENT_ERROR, "of gradient", scientific, "Relative error of the gradient, compared with fp64."),
        )
    ),
    *(
        Column(name, doc, number_format, False, heading, text_heading=heading, integer=name == QUESTIONS_SEEN)
        for name, heading, number_format, doc in (
            (QUESTIONS_SEEN, "questions seen", count, "Number of questions, or images without one, in all epochs."),
            (DEVICE_HOURS, "device hours", amount, "Hours of all training steps, of the CPU’s cores or of the GPUs."),
        )
    ),
    Column(
        PARAMS,
        "Number of learned parameters of the network.",
        count,
        False,
        "parameters",
        runtime_heading="params",
        integer=True,
    ),
    Column(
        PUBLISHED_ACCURACY,
        "Accuracy that a paper reports, with its source.",
        number_format=percent,
        higher_is_better=True,
        report_heading="published, %",
        text_heading="published %",
    ),
    Column(PUBLISHED_SOURCE, "Paper and table of the published accuracy.", text_heading="source"),
    Column(
        DELTA,
        "Accuracy minus the published accuracy, if the digits are those of the papers.",
        number_format=points,
        higher_is_better=True,
        report_heading="−\u00a0published, points",
        text_heading="delta",
    ),
    Column(
        STATUS,
        "“ok” if all runs are finished; otherwise, the number of runs with each status.",
        report_heading="status",
        text_heading="status",
    ),
    shared_setting(RECIPE, "Recipe, and the settings that differ from its defaults."),
    shared_setting(QUERIES, "Questions about the test images: one for each image, or all."),
    Column(DATASET, "Name of the data set: variant and fingerprint.", report_heading="data set"),
    shared_setting(DIGITS, "Source of the digits."),
    shared_setting(BACKGROUNDS, "Source of the photographs, if the images have any."),
    Column(DEVICE, "Name of the GPU, or “cpu”.", report_heading="device", setting=True),
    shared_setting(HARDWARE, "Name of the GPU, or the processor and the number of threads."),
    shared_setting(PRECISION, "Number format of matrix products and convolutions."),
    Column(
        CAPTURE,
        "How a training step runs: “eager”, or “graph” for a CUDA graph.",
        report_heading="capture",
        setting=True,
    ),
    Column(
        DIAGONAL_LSTM,
        "Implementations of the diagonal LSTM that the run used.",
        report_heading="diagonal LSTM",
        runtime_heading="diagonal LSTM",
        setting=True,
    ),
    Column(BENCH_VERSION, "Versions of bench.", report_heading="version", setting=True),
    Column(COMMITS, "Commits of the code, if it ran from a checkout.", report_heading="commits", setting=True),
    Column(NOTE, "Remark on the variant."),
    Column(COMMAND, "Command that repeats the runs.", report_heading="repeat it"),
)
"""All columns, those of boards in the order of the CSV file."""

COLUMN_BY_NAME = {column.name: column for column in COLUMNS}

MAP_METRICS = tuple(column.name for column in COLUMNS if column.of_maps)
"""The metrics of attention maps, in the order of the board."""
MAP_SCORES = tuple(column.name for column in COLUMNS if column.of_maps and column.bounded)
"""The metrics of attention maps that have a value for each question, and therefore an interval."""
COSTS = tuple(column.name for column in COLUMNS if column.is_cost)
"""The measured costs of a run, time and memory, in the order of the board."""


def board_columns() -> list[str]:
    """Return the names of all columns of a board, in the order of the CSV file."""
    columns = [column for column in COLUMNS if column.on_board]
    return [name for column in columns for name in with_suffixes([column.name], BOUNDS if column.bounded else ())]
