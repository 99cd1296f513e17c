"""The record of attacks in the folder of a run: `attack.json` and, for each question, `attack.safetensors`.

The arrays are u1 (T,), `<method>/<region>/<norm>/changed` and `…/right`, and `right`, for the original images; and
`area/<region>`, f2 (T,). Every number of a table is derived from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from bench.attribution.attack_names import METHODS, PIXEL_LEVELS, REGIONS
from bench.attribution.fooling import Attack, AttackPlan, FoolingResult
from bench.evaluation.record_keys import RIGHT
from bench.runs.question_record import Arrays, Content, QuestionRecord, QuestionSettings, is_flag, is_within
from bench.runs.validation import is_number

FORMAT = 1
"""Version of the record. Raise it when a stored number changes its meaning."""
_CHANGED, _AREA = "changed", "area"


class AttackSettings(QuestionSettings):
    """The content of attack.json.

    Attributes:
        methods: the methods.
        regions: the regions.
        norms: the norms, in units of 1/255.
    """

    methods: list[str]
    regions: list[str]
    norms: list[float]


@dataclass(frozen=True)
class AttackRecord:
    """What is stored of attacks.

    Attributes:
        settings: the content of attack.json.
        changed: attack → bool (T,), whether the answer differs from that to the original image.
        right: attack → bool (T,), whether the answer to the attacked image is right.
        right_before: bool (T,), whether the answer to the original image is right.
        areas: region → its share of each image, f8 (T,), rounded to half precision.
        images: the image of each question, i8 (T,), which does not decrease. None if each question has its own, as in
            every stored record.
    """

    settings: AttackSettings
    changed: Mapping[Attack, np.ndarray]
    right: Mapping[Attack, np.ndarray]
    right_before: np.ndarray
    areas: Mapping[str, np.ndarray]
    images: np.ndarray | None = None


def attack_content(dataset: str, fooling: FoolingResult, plan: AttackPlan, batch: int, device: str) -> Content:
    """Return the content of a record of attacks.

    Args:
        dataset: folder name of the data set.
        fooling: what the attacks did.
        plan: the attacks.
        batch: questions per pass.
        device: name of the device.
    """
    arrays = {f"{attack.name}/{_CHANGED}": values for attack, values in fooling.changed.items()}
    arrays |= {f"{attack.name}/{RIGHT}": values for attack, values in fooling.right.items()}
    arrays |= {f"{_AREA}/{region}": values.half() for region, values in fooling.areas.items()}
    settings = AttackSettings(
        format=FORMAT,
        dataset=dataset,
        images=len(fooling.right_before),
        methods=list(plan.methods),
        regions=list(plan.regions),
        norms=list(plan.norms),
        batch=batch,
        device=device,
    )
    return Content(settings, {**arrays, RIGHT: fooling.right_before})


def _plan(settings: AttackSettings) -> AttackPlan:
    return AttackPlan(tuple(settings["methods"]), tuple(settings["regions"]), tuple(map(float, settings["norms"])))


def _find_wrong(settings: AttackSettings, arrays: Arrays) -> list[str]:
    areas = [f"{_AREA}/{region}" for region in settings["regions"]]
    flags = [RIGHT, *(f"{attack.name}/{kind}" for attack in _plan(settings).attacks() for kind in (_CHANGED, RIGHT))]
    wrong = sorted({*areas, *flags} ^ set(arrays))
    wrong += [name for name in flags if name in arrays and not is_flag(arrays[name])]
    wrong += [name for name in areas if name in arrays and not is_within(arrays[name], 0, 1)]
    return wrong


def _build(settings: AttackSettings, arrays: Arrays) -> AttackRecord:
    attacks = _plan(settings).attacks()
    return AttackRecord(
        settings,
        {attack: arrays[f"{attack.name}/{_CHANGED}"].astype(bool) for attack in attacks},
        {attack: arrays[f"{attack.name}/{RIGHT}"].astype(bool) for attack in attacks},
        arrays[RIGHT].astype(bool),
        {region: arrays[f"{_AREA}/{region}"].astype(np.float64) for region in settings["regions"]},
    )


def _are_names(value: object, known: Mapping[str, str]) -> bool:
    return _is_list(value) and all(isinstance(name, str) and name in known for name in value)


def _are_norms(value: object) -> bool:
    return _is_list(value) and all(is_number(norm, 0, PIXEL_LEVELS) and norm > 0 for norm in value)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and bool(value)


RECORD = QuestionRecord(
    "attack",
    FORMAT,
    _find_wrong,
    _build,
    {
        "methods": lambda value: _are_names(value, METHODS),
        "regions": lambda value: _are_names(value, REGIONS),
        "norms": _are_norms,
    },
)
