"""Why a board has no differences to the baseline, as a note. Pure."""

import pandas as pd

from bench.attention import NONE
from bench.evaluation.columns import ATTN, DATASET, DIFFERENCE, ERROR, RECIPE, SEEDS

NO_SINGLE_ROW = (
    "no differences: the baseline needs exactly one row with the data set, recipe and queries of another row; "
    "choose another one with --baseline"
)


def explain_missing_differences(board: pd.DataFrame, baseline: str | None) -> str:
    """Return why no row of a board has a difference to the baseline; "" if one has, or if there is only one row.

    Args:
        board: the board.
        baseline: the mechanism that others are compared with, as in `build_board`; None if it is unknown.
    """
    if len(board) < 2 or board[DIFFERENCE].notna().any():
        return ""
    finished = board[board[SEEDS] > 0]
    if baseline not in board[ATTN].values and len(finished) and finished[ERROR].notna().all():
        baseline = NONE  # the baseline of images without a question, see `build_board`
    if baseline is None or baseline in finished[ATTN].values:
        return NO_SINGLE_ROW
    this_set = "this data set" if board[DATASET].nunique() == 1 else "these data sets"
    this_recipe = "this recipe" if board[RECIPE].nunique() == 1 else "these recipes"
    return (
        f"no differences: there is no finished run of {baseline} on {this_set} with {this_recipe}; "
        "train one, or choose another baseline with --baseline"
    )
