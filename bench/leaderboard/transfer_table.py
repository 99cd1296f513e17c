"""The table of transfers: how well the features of each run separate the classes of other images. Pure."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bench.common.number_format import count, percent
from bench.evaluation.columns import ACCURACY, DATASET
from bench.leaderboard.question_columns import (
    CLASSES,
    DEVIATION,
    FEATURES,
    IMAGES,
    RUN,
    TRANSFER_COLUMNS,
    column_names,
    format_with_bounds,
)
from bench.leaderboard.statistics import mean_with_bounds
from bench.runs.transfer_record import TransferRecord
from mnistref.common.text_table import table


def build_transfer_table(records: Iterable[tuple[str, TransferRecord]]) -> pd.DataFrame:
    """Return one row for each run and set of images.

    Args:
        records: name of the run, and its record.

    Returns:
        The columns of `bench.leaderboard.question_columns.TRANSFER_COLUMNS`. Shares are in 0 … 1.
    """
    rows = [
        {
            RUN: run,
            DATASET: one["dataset"],
            IMAGES: one["images"],
            CLASSES: one["classes"],
            FEATURES: one["features"],
            **mean_with_bounds(ACCURACY, record.right[one["dataset"]]),
            DEVIATION: float(np.std(record.fold_accuracies(one), ddof=1)),
        }
        for run, record in records
        for one in record.sets
    ]
    return pd.DataFrame(rows, columns=column_names(TRANSFER_COLUMNS))


def transfer_table_to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """Return the table for people."""
    lines = [["run", "images of", "number", "classes", "features", "accuracy, %", "s.d. over folds, points"]]
    for _, row in board.iterrows():
        numbers = [count(row[name]) for name in (IMAGES, CLASSES, FEATURES)]
        accuracy = format_with_bounds(row, ACCURACY, percent)
        lines.append([row[RUN], row[DATASET], *numbers, accuracy, percent(row[DEVIATION])])
    notes = "Brackets: 95 % intervals over images. Wider features are easier to separate."
    return f"{table(lines, markdown)}\n\n{notes}"
