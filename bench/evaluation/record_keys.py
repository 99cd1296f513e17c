"""Names in the records of a run that are no columns of a board: statuses, answers, fields of the history. Pure.

Names that are columns too, such as the accuracy, are in `bench.evaluation.columns`.
"""

from typing import Final

OK: Final = "ok"
"""Status of a run that succeeded."""
DIVERGED, FAILED = "diverged", "failed"
"""Other statuses in result.json."""
UNFINISHED, DAMAGED = "unfinished", "damaged"
"""Statuses of runs without a valid result.json."""
REASON: Final = "reason"
"""Why a run failed or diverged."""

ANSWER: Final = "answer"
"""The predicted label of each question."""
RIGHT: Final = "right"
"""Whether each answer is right."""
RIGHT5: Final = "right5"
"""Whether each right label is among the five most probable ones."""
SCALE_BIN: Final = "scale_bin"
"""The scale bin of each queried digit."""

IMAGE: Final = "image"
"""The index of each question's image, if there are several questions about an image."""

VAL_ACCURACY: Final = "val_accuracy"
"""Accuracy of the validation questions: after each epoch in history.jsonl, of the best epoch in result.json."""
EPOCHS: Final = "epochs"
"""Number of epochs of a run."""
BEST_EPOCH: Final = "best_epoch"
"""The epoch whose weights are tested."""
FORMAT: Final = "result_format"
"""The version of the meaning of a result, see `bench.runs.validation.RESULT_FORMAT`."""
