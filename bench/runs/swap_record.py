"""The record of swapped questions in the folder of a run: `swap.json` and, for each image, `swap.safetensors`.

The arrays are those of `bench.attribution.swap.Swap`: measures in f4 (T,) and right answers in u1 (T,).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from bench.attribution.swap import AREAS, LARGEST_CHANGE, MASSES, MOVED, RIGHTS, TOTAL_VARIATION, Swap
from bench.common.json_files import write_json
from bench.runs.question_arrays import QuestionArrays

SETTINGS, ARRAYS = "swap.json", "swap.safetensors"
FILE = QuestionArrays(ARRAYS, SETTINGS, "bench swap")
FORMAT = 1
"""Version of the record. Raise it when a stored number changes its meaning."""
_ROUNDING = 1e-3
_LOWEST = dict.fromkeys((*MASSES, TOTAL_VARIATION, LARGEST_CHANGE, *AREAS), 0.0) | {MOVED: -1.0}
"""The smallest possible value of each measure; the largest is 1."""


class SwapSettings(TypedDict):
    """The content of swap.json.

    Attributes:
        format: `FORMAT`.
        dataset: folder name of the data set.
        images: T.
        batch: images per pass.
        device: name of the device.
    """

    format: int
    dataset: str
    images: int
    batch: int
    device: str


@dataclass(frozen=True)
class SwapRecord:
    """What is stored of swapped questions.

    Attributes:
        settings: the content of swap.json.
        measures: name → f8 (T,), see `bench.attribution.swap.Swap`.
        right: name → bool (T,), see `bench.attribution.swap.RIGHTS`.
    """

    settings: SwapSettings
    measures: Mapping[str, np.ndarray]
    right: Mapping[str, np.ndarray]


def write_record(run: Path, dataset: str, swapped: Swap, batch: int, device: str) -> SwapRecord:
    """Write the measures of swapped questions into the folder of a run, and return the record as it is read again.

    Args:
        run: the folder.
        dataset: folder name of the data set.
        swapped: the measures.
        batch: images per pass.
        device: name of the device.
    """
    FILE.write(run, {**swapped.measures, **swapped.right})
    images = len(swapped.right[RIGHTS[0]])
    write_json(run / SETTINGS, SwapSettings(format=FORMAT, dataset=dataset, images=images, batch=batch, device=device))
    record = read_record(run)
    assert record is not None
    return record


def read_record(run: Path) -> SwapRecord | None:
    """Return the record of swapped questions of a run, packed or not; None if there is none.

    Raises:
        DataProblemError: a file is missing or damaged.
    """
    path = run / SETTINGS
    if not path.is_file():
        return None
    settings = _parse_settings(path)
    arrays = FILE.read(run, settings["images"])
    wrong = sorted({*_LOWEST, *RIGHTS} ^ set(arrays))
    wrong += [name for name in RIGHTS if name in arrays and not np.isin(arrays[name], (0, 1)).all()]
    wrong += [
        name
        for name, lowest in _LOWEST.items()
        if name in arrays and not ((arrays[name] >= lowest - _ROUNDING) & (arrays[name] <= 1 + _ROUNDING)).all()
    ]
    FILE.require_none(run, wrong)
    return SwapRecord(
        settings,
        {name: arrays[name].astype(np.float64) for name in _LOWEST},
        {name: arrays[name].astype(bool) for name in RIGHTS},
    )


def _parse_settings(path: Path) -> SwapSettings:
    content = FILE.parse_settings(path, FORMAT, {"dataset": str, "images": int, "batch": int, "device": str})
    return SwapSettings(
        format=FORMAT,
        dataset=content["dataset"],
        images=content["images"],
        batch=content["batch"],
        device=content["device"],
    )
