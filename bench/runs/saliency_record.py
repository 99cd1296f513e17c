"""The record of map methods in the folder of a run: `saliency.json` and, for each question, `saliency.safetensors`.

The arrays are f2 (T,): `<method>/<measure>`, `area/<region>`, and `right`, u1. Every number of a table is derived from
them, so that a stored board can be checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from bench.attribution.explain import ORACLE, Explanation, ExplanationOptions
from bench.attribution.measures import AREAS, MEASURES
from bench.attribution.methods import METHODS
from bench.common.json_files import write_json
from bench.runs.question_arrays import QuestionArrays
from bench.runs.validation import is_number

SETTINGS, ARRAYS = "saliency.json", "saliency.safetensors"
FILE = QuestionArrays(ARRAYS, SETTINGS, "bench saliency")
PACKED_ARRAYS = FILE.packed_file
SHEET = "saliency.webp"
"""A picture of a few images and their maps, see `bench.attribution.sheet`: baselines are left out."""
SHEET_IMAGES, SHEET_TILE_PIXELS = 6, 64
FORMAT = 1
"""Version of the record. Raise it when a stored number changes its meaning."""
_AREA, _RIGHT = "area", "right"


class SaliencySettings(TypedDict):
    """The content of saliency.json.

    Attributes:
        format: `FORMAT`.
        dataset: folder name of the data set.
        images: T.
        explained: the class that is explained, "prediction" or "label".
        seed: seed of random maps, noise and masks.
        batch: questions per forward pass.
        device: name of the device.
        captum: version of Captum.
        seconds_per_1000: method → seconds for 1,000 questions.
    """

    format: int
    dataset: str
    images: int
    explained: str
    seed: int
    batch: int
    device: str
    captum: str
    seconds_per_1000: dict[str, float]


@dataclass(frozen=True)
class SaliencyRecord:
    """What is stored of map methods.

    Attributes:
        settings: the content of saliency.json.
        measures: method → measure → values f8 (T,), rounded to half precision.
        areas: region → its share of each image, f8 (T,).
        right: bool (T,), whether the network's answer is right.
    """

    settings: SaliencySettings
    measures: Mapping[str, Mapping[str, np.ndarray]]
    areas: Mapping[str, np.ndarray]
    right: np.ndarray


def write_record(
    run: Path, dataset: str, explanation: Explanation, options: ExplanationOptions, device: str, captum: str
) -> SaliencyRecord:
    """Write the measures of map methods into the folder of a run, and return the record as it is read again.

    Args:
        run: the folder.
        dataset: folder name of the data set.
        explanation: the measures.
        options: how the maps were made.
        device: name of the device.
        captum: version of Captum, or "" if it was not used.
    """
    images = len(explanation.right)
    settings = SaliencySettings(
        format=FORMAT,
        dataset=dataset,
        images=images,
        explained=options.explained,
        seed=options.seed,
        batch=options.batch,
        device=device,
        captum=captum,
        seconds_per_1000={name: round(1000 * spent / images, 2) for name, spent in explanation.seconds.items()},
    )
    tables = {**explanation.measures, _AREA: explanation.areas}
    arrays = {f"{method}/{name}": values.half() for method, table in tables.items() for name, values in table.items()}
    FILE.write(run, {**arrays, _RIGHT: explanation.right})
    write_json(run / SETTINGS, settings)
    record = read_record(run)
    assert record is not None
    return record


def read_record(run: Path) -> SaliencyRecord | None:
    """Return the record of map methods of a run, packed or not; None if there is none.

    Raises:
        DataProblemError: a file is missing or damaged.
    """
    path = run / SETTINGS
    if not path.is_file():
        return None
    settings = _parse_settings(path)
    arrays = FILE.read(run, settings["images"])
    tables: dict[str, dict[str, np.ndarray]] = {}
    right = arrays.pop(_RIGHT, np.zeros(0))
    for name, values in arrays.items():
        method, _, measure = name.partition("/")
        tables.setdefault(method, {})[measure] = values.astype(np.float64)
    areas = tables.pop(_AREA, {})
    known = {column.name for column in MEASURES}
    wrong = [] if len(right) else [_RIGHT]
    wrong += [name for name, values in arrays.items() if not ((values >= 0) & (values <= 1.001)).all()]
    wrong += [f"{method}/{name}" for method, table in tables.items() for name in table if name not in known]
    wrong += [method for method in tables if method not in (*METHODS, ORACLE)]
    wrong += sorted(set(AREAS) ^ set(areas))
    FILE.require_none(run, wrong)
    return SaliencyRecord(settings, tables, areas, right.astype(bool))


def read_packed_arrays(run: Path) -> bytes | None:
    """Return the content of a packed file with the arrays of a run; None if the run has none."""
    return FILE.read_packed(run)


def _parse_settings(path: Path) -> SaliencySettings:
    kinds = {"dataset": str, "images": int, "explained": str, "seed": int, "batch": int, "device": str, "captum": str}
    content = FILE.parse_settings(path, FORMAT, kinds, {"seconds_per_1000": _are_seconds})
    return SaliencySettings(
        format=FORMAT,
        dataset=content["dataset"],
        images=content["images"],
        explained=content["explained"],
        seed=content["seed"],
        batch=content["batch"],
        device=content["device"],
        captum=content["captum"],
        seconds_per_1000={str(name): float(value) for name, value in content["seconds_per_1000"].items()},
    )


def _are_seconds(value: object) -> bool:
    return isinstance(value, dict) and all(is_number(seconds, 0) for seconds in value.values())
