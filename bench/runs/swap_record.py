"""The record of swapped questions in the folder of a run: `swap.json` and, for each image, `swap.safetensors`.

The arrays are those of `bench.attribution.swap.Swap`: measures in f4 (T,) and right answers in u1 (T,).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.attribution.swap import AREAS, LARGEST_CHANGE, MASSES, MOVED, RIGHTS, TOTAL_VARIATION, Swap
from bench.runs.question_record import Arrays, Content, QuestionRecord, QuestionSettings, is_flag, is_within

FORMAT = 1
"""Version of the record. Raise it when a stored number changes its meaning."""
_ROUNDING = 1e-3
_LOWEST = dict.fromkeys((*MASSES, TOTAL_VARIATION, LARGEST_CHANGE, *AREAS), 0.0) | {MOVED: -1.0}
"""The smallest possible value of each measure; the largest is 1."""


@dataclass(frozen=True)
class SwapRecord:
    """What is stored of swapped questions.

    Attributes:
        settings: the content of swap.json.
        measures: name → f8 (T,), see `bench.attribution.swap.Swap`.
        right: name → bool (T,), see `bench.attribution.swap.RIGHTS`.
        images: the image of each pair of questions, i8 (T,), which does not decrease. None if each pair has its own, as
            in every stored record.
    """

    settings: QuestionSettings
    measures: Mapping[str, np.ndarray]
    right: Mapping[str, np.ndarray]
    images: np.ndarray | None = None


def swap_content(dataset: str, swapped: Swap, batch: int, device: str) -> Content:
    """Return the content of a record of swapped questions.

    Args:
        dataset: folder name of the data set.
        swapped: the measures.
        batch: images per pass.
        device: name of the device.
    """
    images = len(swapped.right[RIGHTS[0]])
    settings = QuestionSettings(format=FORMAT, dataset=dataset, images=images, batch=batch, device=device)
    return Content(settings, {**swapped.measures, **swapped.right})


def _find_wrong(settings: QuestionSettings, arrays: Arrays) -> list[str]:
    wrong = sorted({*_LOWEST, *RIGHTS} ^ set(arrays))
    wrong += [name for name in RIGHTS if name in arrays and not is_flag(arrays[name])]
    wrong += [
        name
        for name, lowest in _LOWEST.items()
        if name in arrays and not is_within(arrays[name], lowest - _ROUNDING, 1 + _ROUNDING)
    ]
    return wrong


def _build(settings: QuestionSettings, arrays: Arrays) -> SwapRecord:
    return SwapRecord(
        settings,
        {name: arrays[name].astype(np.float64) for name in _LOWEST},
        {name: arrays[name].astype(bool) for name in RIGHTS},
    )


RECORD = QuestionRecord("swap", FORMAT, _find_wrong, _build)
