"""The record of map methods in the folder of a run: `saliency.json` and, for each question, `saliency.safetensors`.

The arrays are f2 (T,): `<method>/<measure>`, `area/<region>`, and `right`, u1. Every number of a table is derived from
them, so that a stored board can be checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.attribution.explain import ORACLE, Explanation, ExplanationOptions
from bench.attribution.measures import AREAS, MEASURES
from bench.attribution.methods import METHODS
from bench.evaluation.record_keys import RIGHT
from bench.runs.question_record import Arrays, Content, QuestionRecord, QuestionSettings, is_within
from bench.runs.validation import is_number

SHEET = "saliency.webp"
"""A picture of a few images and their maps, see `bench.attribution.sheet`: baselines are left out."""
SHEET_IMAGES, SHEET_TILE_PIXELS = 6, 64
FORMAT = 3
"""Version of the record. Raise it when a stored number changes its meaning."""
_AREA = "area"


class SaliencySettings(QuestionSettings):
    """The content of saliency.json.

    Attributes:
        explained: the class that is explained, "prediction" or "label".
        seed: seed of random maps, noise and masks.
        captum: version of Captum.
        seconds_per_1000: method → seconds for 1,000 questions.
    """

    explained: str
    seed: int
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


def saliency_content(
    dataset: str, explanation: Explanation, options: ExplanationOptions, device: str, captum: str
) -> Content:
    """Return the content of a record of map methods.

    Args:
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
    return Content(settings, {**arrays, RIGHT: explanation.right})


def _find_wrong(settings: SaliencySettings, arrays: Arrays) -> list[str]:
    wrong = [] if RIGHT in arrays else [RIGHT]
    wrong += [name for name, values in arrays.items() if not is_within(values, 0, 1.001)]
    tables = _split_names(arrays)
    areas = tables.pop(_AREA, {})
    known = {column.name for column in MEASURES}
    wrong += [f"{method}/{name}" for method, table in tables.items() for name in table if name not in known]
    wrong += [method for method in tables if method not in (*METHODS, ORACLE)]
    return [*wrong, *sorted(set(AREAS) ^ set(areas))]


def _build(settings: SaliencySettings, arrays: Arrays) -> SaliencyRecord:
    tables = _split_names(arrays)
    areas = tables.pop(_AREA)
    return SaliencyRecord(settings, tables, areas, arrays[RIGHT].astype(bool))


def _split_names(arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """Return method → measure → values f8 (T,) of the arrays `<method>/<measure>`; the areas are a method too.

    A file has its arrays in any order. The methods are in the order of tables, and unknown ones come last.
    """
    tables: dict[str, dict[str, np.ndarray]] = {}
    for name, values in sorted(arrays.items()):
        if name != RIGHT:
            method, _, measure = name.partition("/")
            tables.setdefault(method, {})[measure] = values.astype(np.float64)
    known = [*METHODS, ORACLE, _AREA]
    return dict(sorted(tables.items(), key=lambda item: known.index(item[0]) if item[0] in known else len(known)))


def _are_seconds(value: object) -> bool:
    return isinstance(value, dict) and all(is_number(seconds, 0) for seconds in value.values())


RECORD = QuestionRecord(
    "saliency",
    FORMAT,
    _find_wrong,
    _build,
    {
        "explained": lambda value: type(value) is str,
        "seed": lambda value: type(value) is int,
        "captum": lambda value: type(value) is str,
        "seconds_per_1000": _are_seconds,
    },
)
