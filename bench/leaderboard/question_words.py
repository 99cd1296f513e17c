"""Whether the images of a data set come with questions, and words that depend on it. Pure."""

import pandas as pd

from bench.evaluation.columns import VARIANT
from bench.tasks import TASKS
from mnistref.variants import VARIANTS

_FOLDER = "folder-"
"""Beginning of the names of tasks that are folders of images."""
_LEGEND = """One table per data set; settings that all of its rows share are above it. #: rank among the rows of a
recipe. 95 %: interval of the number before it. mask: mask correctness, the share of the attention that lies on the
{target}; uniform map: its value for a uniform map. TPR, pointing, PR area: other measures of the maps. step ms:
time of a training step; × san: the same divided by that of `san` of the same width, timed alternately. published %:
accuracy in the papers (in ARNN, if both report it); delta: difference from it."""


def has_questions(variant: str) -> bool:
    """Return whether the images of a variant or task come with questions.

    Args:
        variant: its name. Unknown names are taken for variants with questions, as those of earlier versions were.
    """
    known = VARIANTS.get(variant)
    return known.asks if known else variant not in TASKS and not variant.startswith(_FOLDER)


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
