"""The table of columns: name, number format, direction, headings and documentation of each.

The CSV of a board, its text table, the HTML report and `bench runtime` derive from `COLUMNS`. To add a column, add one
entry. The names are also the keys of result.json.
"""

from bench.common.number_format import amount, chance, count, percent, points, ratio, scientific, share, whole
from bench.evaluation.column import BOUNDS, Column, with_suffixes
from mnistref.spec import SCALE_BIN_NAMES

SCALES = tuple(f"accuracy_scale_{name}" for name in SCALE_BIN_NAMES)
"""Accuracy in each scale bin."""
COUNTS = tuple(f"n_scale_{name}" for name in SCALE_BIN_NAMES)
"""Number of questions in each scale bin."""

RANK, VARIANT, ATTN, SEEDS = "rank", "variant", "attn", "seeds"
ACCURACY, BASELINE_NAME, DIFFERENCE, P_VALUE = "accuracy", "baseline", "difference", "p_value"
MASK_CORRECTNESS, UNIFORM, TPR, POINTING = "mask_correctness", "mask_correctness_uniform", "tpr", "pointing"
PR_AREA = "pr_area"
RELATIVE_RUNTIME, TRAIN_STEP_MS, INFER_MS = "relative_runtime", "train_step_ms", "infer_ms_per_image"
INFER_OVER_SAN = "infer_over_san"
STEP_RATIOS = {"san": "over_san", "pan-ctx": "over_pan_ctx"}
"""Baseline of `bench runtime` → the column with the ratio of the training steps to it."""
PEAK_MEMORY_MB, SAVED_MB = "peak_memory_mb", "saved_mb"
LOGITS_ERROR, GRADIENT_ERROR = "logits_error", "gradient_error"
PARAMS = "params"
PUBLISHED_ACCURACY, PUBLISHED_SOURCE, DELTA = "published_accuracy", "published_source", "delta"
STATUS, RECIPE, QUERIES, DATASET, DIGITS, BACKGROUNDS = (
    "status",
    "recipe",
    "queries",
    "dataset",
    "digits",
    "backgrounds",
)
DEVICE, HARDWARE, PRECISION, CAPTURE = "device", "hardware", "precision", "capture"
DIAGONAL_LSTM, BENCH_VERSION, COMMITS, NOTE, COMMAND = "diagonal_lstm", "bench_version", "commits", "note", "command"


COLUMNS = (
    Column(
        RANK,
        "1 + how many rivals, of its data set, recipe and unit of queries, are distinguishably better.",
        count,
        False,
        "rank",
        "#",
        integer=True,
    ),
    Column(VARIANT, "The law by which images and questions were drawn.", report_heading="variant"),
    Column(
        ATTN,
        "The attention mechanism in the slots of the network, shallow to deep.",
        report_heading="mechanism",
        text_heading="attn",
        runtime_heading="network",
    ),
    Column(SEEDS, "Runs that ended well and are averaged here.", count, True, "seeds", "seeds", integer=True),
    Column(
        ACCURACY,
        "Share of right answers on the test split, with its 95 % interval.",
        percent,
        True,
        "accuracy, %",
        "accuracy %",
        bounded=True,
    ),
    Column(BASELINE_NAME, "The mechanism that others are compared with.", report_heading="baseline", setting=True),
    Column(
        DIFFERENCE,
        "Accuracy less the baseline’s, seed by seed, with its interval.",
        points,
        True,
        "− baseline, points",
        "− {baseline}",
        bounded=True,
    ),
    Column(
        P_VALUE,
        "Sign-flip test of that difference: how often chance alone makes one as large.",
        chance,
        False,
        "p",
        "p",
    ),
    *(
        Column(scale, f"Accuracy on digits of scale {name.replace('_', ' to ')}.", percent, True, bounded=True)
        for scale, name in zip(SCALES, SCALE_BIN_NAMES, strict=True)
    ),
    *(
        Column(n, f"Number of questions about digits of scale {name.replace('_', ' to ')}.", count, integer=True)
        for n, name in zip(COUNTS, SCALE_BIN_NAMES, strict=True)
    ),
    Column(
        MASK_CORRECTNESS,
        "Share of the attention on the digit asked about, 0–1.",
        share,
        True,
        "mask correctness",
        "mask",
        bounded=True,
    ),
    Column(
        UNIFORM,
        "Mask correctness of a map that is alike everywhere.",
        share,
        True,
        "uniform",
        "uniform map",
        above_text=True,
    ),
    Column(
        TPR,
        "True-positive ratio: mask correctness of the last slot's map alone, 0–1.",
        share,
        True,
        "TPR",
        "TPR",
        bounded=True,
    ),
    Column(
        POINTING,
        "How often the maximum of the maps lies on the digit, 0–1.",
        share,
        True,
        "pointing",
        "pointing",
        bounded=True,
    ),
    Column(
        PR_AREA,
        "Average precision of the maps’ pixels: the area below their curve, 0–1.",
        share,
        True,
        "PR area",
        "PR area",
    ),
    Column(
        RELATIVE_RUNTIME, "Time of a training step over that of san of its width.", ratio, False, "step, × san", "× san"
    ),
    Column(
        TRAIN_STEP_MS,
        "Median time of a training step.",
        amount,
        False,
        "step, ms",
        "step ms",
        "step, ms",
        quartiles=True,
    ),
    *(
        Column(
            name,
            f"Time of a training step over that of {baseline}, round by round.",
            ratio,
            False,
            runtime_heading=f"/ {baseline}",
            on_board=False,
            quartiles=True,
        )
        for baseline, name in STEP_RATIOS.items()
    ),
    Column(
        INFER_MS,
        "Median time to answer for one image.",
        amount,
        False,
        "inference, ms",
        runtime_heading="inference, ms an image",
        quartiles=True,
    ),
    Column(
        INFER_OVER_SAN,
        "Time of inference over that of san, round by round.",
        ratio,
        False,
        runtime_heading="/ san",
        on_board=False,
    ),
    Column(
        PEAK_MEMORY_MB,
        "The most a training step holds beyond weights and data.",
        amount,
        False,
        "memory, MB",
        runtime_heading="peak, MB",
        runtime_format=whole,
    ),
    *(
        Column(name, doc, number_format, False, runtime_heading=heading, on_board=False)
        for name, heading, number_format, doc in (
            (SAVED_MB, "saved, MB", whole, "Memory that the forward pass saves for the gradients."),
            (LOGITS_ERROR, "error of logits", scientific, "Relative error of the logits, compared with fp64."),
            (GRADIENT_ERROR, "of gradient", scientific, "Relative error of the gradient, compared with fp64."),
        )
    ),
    Column(
        PARAMS,
        "Learned numbers of the whole network.",
        count,
        False,
        "parameters",
        runtime_heading="params",
        integer=True,
    ),
    Column(
        PUBLISHED_ACCURACY, "What a paper prints for it, with the source.", percent, True, "published, %", "published %"
    ),
    Column(PUBLISHED_SOURCE, "The paper and table of the published accuracy.", text_heading="source"),
    Column(
        DELTA,
        "Accuracy less the published one, where the digits are the papers’.",
        points,
        True,
        "− published, points",
        "delta",
    ),
    Column(STATUS, "ok, or how many runs of the row ended how.", report_heading="status", text_heading="status"),
    Column(
        RECIPE,
        "How the network was trained, and what differs from the recipe's defaults.",
        report_heading="recipe",
        text_heading="recipe",
        setting=True,
        above_text=True,
    ),
    Column(
        QUERIES,
        "One question for each image, or all that can be asked.",
        report_heading="queries",
        text_heading="queries",
        setting=True,
        above_text=True,
    ),
    Column(DATASET, "The data set's folder: variant and fingerprint.", report_heading="data set"),
    Column(
        DIGITS,
        "Where the digits come from.",
        report_heading="digits",
        text_heading="digits",
        setting=True,
        above_text=True,
    ),
    Column(
        BACKGROUNDS,
        "Where the photographs come from, if there are any.",
        report_heading="backgrounds",
        text_heading="backgrounds",
        setting=True,
        above_text=True,
    ),
    Column(DEVICE, "What computed it: the GPU, or cpu.", report_heading="device", setting=True),
    Column(
        HARDWARE,
        "The GPU, or the processor and how many threads of it.",
        report_heading="hardware",
        text_heading="hardware",
        setting=True,
        above_text=True,
    ),
    Column(PRECISION, "Arithmetic of the products.", report_heading="precision", setting=True),
    Column(CAPTURE, "How a step is issued to the device.", report_heading="capture", setting=True),
    Column(
        DIAGONAL_LSTM,
        "Which implementation of the diagonal LSTM ran.",
        report_heading="diagonal LSTM",
        runtime_heading="diagonal LSTM",
        setting=True,
    ),
    Column(BENCH_VERSION, "Of bench.", report_heading="version", setting=True),
    Column(COMMITS, "Of bench’s code, where it lay in a checkout.", report_heading="commits", setting=True),
    Column(NOTE, "A remark on the variant."),
    Column(COMMAND, "The command that makes the row again.", report_heading="repeat it"),
)
"""All columns, those of boards in the order of the CSV file."""

COLUMN_BY_NAME = {column.name: column for column in COLUMNS}

MAP_METRICS = tuple(name for name in COLUMN_BY_NAME if name in (MASK_CORRECTNESS, UNIFORM, TPR, POINTING, PR_AREA))
"""The metrics of attention maps, in the order of the board."""
MAP_SCORES = tuple(name for name in MAP_METRICS if COLUMN_BY_NAME[name].bounded)
"""Those of them that each question has a value of, so that they have intervals."""
COSTS = (RELATIVE_RUNTIME, TRAIN_STEP_MS, INFER_MS, PEAK_MEMORY_MB)
"""The measured costs of a run: time and memory."""


def board_columns() -> list[str]:
    """Return the names of all columns of a board, in the order of the CSV file."""
    columns = [column for column in COLUMNS if column.on_board]
    return [name for column in columns for name in with_suffixes([column.name], BOUNDS if column.bounded else ())]
