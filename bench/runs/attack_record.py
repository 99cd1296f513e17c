"""The record of attacks in the folder of a run: `attack.json` and, for each question, `attack.safetensors`.

The arrays are u1 (T,), `<method>/<region>/<norm>/changed` and `…/right`, and `right`, for the original images; and
`area/<region>`, f2 (T,). Every number of a table is derived from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeGuard

import numpy as np

from bench.attribution.attack_names import METHODS, PIXEL_LEVELS, REGIONS
from bench.attribution.fooling import Attack, AttackPlan, FoolingResult
from bench.common.json_files import write_json
from bench.runs.question_arrays import QuestionArrays
from bench.runs.validation import is_number

SETTINGS, ARRAYS = "attack.json", "attack.safetensors"
FILE = QuestionArrays(ARRAYS, SETTINGS, "bench attack")
FORMAT = 1
"""Version of the record. Raise it when a stored number changes its meaning."""
_CHANGED, _RIGHT, _AREA = "changed", "right", "area"


class AttackSettings(TypedDict):
    """The content of attack.json.

    Attributes:
        format: `FORMAT`.
        dataset: folder name of the data set.
        images: T.
        methods: the methods.
        regions: the regions.
        norms: the norms, in units of 1/255.
        batch: questions per pass.
        device: name of the device.
    """

    format: int
    dataset: str
    images: int
    methods: list[str]
    regions: list[str]
    norms: list[float]
    batch: int
    device: str


@dataclass(frozen=True)
class AttackRecord:
    """What is stored of attacks.

    Attributes:
        settings: the content of attack.json.
        changed: attack → bool (T,), whether the answer differs from that to the original image.
        right: attack → bool (T,), whether the answer to the attacked image is right.
        right_before: bool (T,), whether the answer to the original image is right.
        areas: region → its share of each image, f8 (T,), rounded to half precision.
    """

    settings: AttackSettings
    changed: Mapping[Attack, np.ndarray]
    right: Mapping[Attack, np.ndarray]
    right_before: np.ndarray
    areas: Mapping[str, np.ndarray]


def write_record(
    run: Path, dataset: str, fooling: FoolingResult, plan: AttackPlan, batch: int, device: str
) -> AttackRecord:
    """Write what attacks did into the folder of a run, and return the record as it is read again.

    Args:
        run: the folder.
        dataset: folder name of the data set.
        fooling: what the attacks did.
        plan: the attacks.
        batch: questions per pass.
        device: name of the device.
    """
    arrays = {f"{attack.name}/{_CHANGED}": values for attack, values in fooling.changed.items()}
    arrays |= {f"{attack.name}/{_RIGHT}": values for attack, values in fooling.right.items()}
    arrays |= {f"{_AREA}/{region}": values.half() for region, values in fooling.areas.items()}
    FILE.write(run, {**arrays, _RIGHT: fooling.right_before})
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
    write_json(run / SETTINGS, settings)
    record = read_record(run)
    assert record is not None
    return record


def read_record(run: Path) -> AttackRecord | None:
    """Return the record of attacks on a run, packed or not; None if there is none.

    Raises:
        DataProblemError: a file is missing or damaged.
    """
    path = run / SETTINGS
    if not path.is_file():
        return None
    settings = _parse_settings(path)
    plan = AttackPlan(tuple(settings["methods"]), tuple(settings["regions"]), tuple(settings["norms"]))
    attacks = plan.attacks()
    arrays = FILE.read(run, settings["images"])
    areas = [f"{_AREA}/{region}" for region in settings["regions"]]
    flags = [_RIGHT, *(f"{attack.name}/{kind}" for attack in attacks for kind in (_CHANGED, _RIGHT))]
    wrong = sorted({*areas, *flags} ^ set(arrays))
    wrong += [name for name in flags if name in arrays and not np.isin(arrays[name], (0, 1)).all()]
    wrong += [name for name in areas if name in arrays and not ((arrays[name] >= 0) & (arrays[name] <= 1)).all()]
    FILE.require_none(run, wrong)
    return AttackRecord(
        settings,
        {attack: arrays[f"{attack.name}/{_CHANGED}"].astype(bool) for attack in attacks},
        {attack: arrays[f"{attack.name}/{_RIGHT}"].astype(bool) for attack in attacks},
        arrays[_RIGHT].astype(bool),
        {region: arrays[f"{_AREA}/{region}"].astype(np.float64) for region in settings["regions"]},
    )


def _parse_settings(path: Path) -> AttackSettings:
    kinds = {"dataset": str, "images": int, "batch": int, "device": str}
    checks = {
        "methods": lambda value: _are_names(value, METHODS),
        "regions": lambda value: _are_names(value, REGIONS),
        "norms": _are_norms,
    }
    content = FILE.parse_settings(path, FORMAT, kinds, checks)
    return AttackSettings(
        format=FORMAT,
        dataset=content["dataset"],
        images=content["images"],
        methods=content["methods"],
        regions=content["regions"],
        norms=[float(norm) for norm in content["norms"]],
        batch=content["batch"],
        device=content["device"],
    )


def _are_names(value: object, known: Mapping[str, str]) -> bool:
    return _is_list(value) and all(isinstance(name, str) and name in known for name in value)


def _are_norms(value: object) -> bool:
    return _is_list(value) and all(is_number(norm, 0, PIXEL_LEVELS) and norm > 0 for norm in value)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and bool(value)
