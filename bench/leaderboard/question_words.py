"""Words that depend on whether images come with questions. Pure."""

import pandas as pd

from bench.evaluation.columns import VARIANT
from bench.tasks.variant_names import has_questions

_LEGEND = """One table per data set; settings that all of its rows share are above it. #: rank among the rows of a
recipe. 95 %: interval of the number before it. mask: mask correctness, the share of the attention that lies on the
{target}; uniform map: its value for a uniform map. TPR, pointing, PR area: other measures of the maps. step ms:
time of a training step; × san: the same divided by that of `san` of the same width, timed alternately. questions
seen: in all epochs of the training, with repetitions; device hours: of all training steps, on the cores of a CPU or
on GPUs. published %: accuracy in the papers (in ARNN, if both report it); delta: difference from it."""


def count_tested(number: int, dataset: str) -> str:
    """Return how many questions, or images without a question, were tested, such as "400 test questions of mbg-…".

    Args:
        number: how many.
        dataset: the folder name of the data set.
    """
    tested = "questions" if has_questions(dataset.rpartition("-")[0]) else "images"
    return f"{number:,} test {tested} of {dataset}"


def describe_columns(board: pd.DataFrame) -> str:
    """Return what the columns of a table in Markdown mean."""
    asks = any(map(has_questions, board[VARIANT].unique()))
    return _LEGEND.format(target="queried digit" if asks else "object")
