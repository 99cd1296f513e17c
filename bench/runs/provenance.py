"""How a run was made, according to config.json and environment.json in its folder."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, TypeGuard

from bench.attention import present_name
from bench.common.json_files import read_json
from bench.config import EVALUATED, RunConfig
from bench.evaluation.columns import (
    ATTN,
    BENCH_VERSION,
    DATASET,
    DEVICE,
    PRECISION,
    QUERIES,
    RECIPE,
    STATUS,
    VARIANT,
)
from bench.runs.record_types import Result, RunFacts
from bench.runs.validation import is_number, is_text
from mnistref.common.atomic_files import path_of_text
from mnistref.common.errors import DataProblemError
from mnistref.spec_records import RequestRecord

CONFIG, ENVIRONMENT = "config.json", "environment.json"
USER_FILES, DATA_REQUEST, DATA_FOLDER, INIT_RUN = "attn_files", "data_request", "data_folder", "init_run"
REPRODUCTION_KEYS = (USER_FILES, DATA_REQUEST, DATA_FOLDER, INIT_RUN)
"""Keys of config.json that help to reproduce a run, but are not part of its configuration, see `ReproductionInfo`."""
READ_ERRORS = (DataProblemError, AttributeError, KeyError, TypeError, ValueError)
"""Errors of reading a file with an unexpected content."""


class ReproductionInfo(TypedDict, total=False):
    """Entries of config.json that help to reproduce a run. The files and folders may have been moved since.

    Attributes:
        attn_files: paths of the user files whose hashes are in `attn`, see `bench.attention.NetworkSpec`.
        data_request: how the data set is generated, see `mnistref.generation.generate.request_of`.
        data_folder: folder of the data set.
        init_run: folder of the run with the initial weights.
    """

    attn_files: dict[str, str]
    data_request: RequestRecord
    data_folder: str
    init_run: str


def _as_object(content: object, label: str) -> dict[str, object]:
    """Return the content of a JSON file if it is an object; otherwise raise a TypeError that names what it should be.

    The values are not checked.
    """
    if not isinstance(content, dict):
        raise TypeError(f"{type(content).__name__} instead of {label}")
    return content


def split_config(content: object) -> tuple[dict[str, object], dict[str, object]]:
    """Split the content of config.json into the configuration and the entries of `REPRODUCTION_KEYS`.

    Raises:
        TypeError: the content is not an object.
    """
    entries = _as_object(content, "a configuration")
    info = {key: value for key, value in entries.items() if key in REPRODUCTION_KEYS}
    return {key: value for key, value in entries.items() if key not in REPRODUCTION_KEYS}, info


def build_damage_error(path: Path, error: Exception) -> DataProblemError:
    """Return the error for a file of a run with an unexpected content.

    Args:
        path: the file.
        error: one of `READ_ERRORS`, or an OSError.
    """
    if isinstance(error, DataProblemError):
        return error
    missing = f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else ""
    reason = missing or (str(error) if isinstance(error, ValueError | OSError) else "unexpected structure")
    return DataProblemError(
        f"{path}: damaged ({reason}); restore the file, or delete the run's folder and run it again"
    )


def build_config(content: object) -> RunConfig:
    """Return the configuration of a record, which an earlier version may have written. Its values are not checked.

    Raises:
        KeyError, TypeError: a value is missing or unknown.
    """
    config = RunConfig.from_dict(content)
    is_own_name = config.recipe == EVALUATED or not is_text(config.attn)
    return config if is_own_name else replace(config, attn=present_name(config.attn))


def parse_config(content: object) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        KeyError, TypeError, ValueError: a value is missing, or no run can have it.
    """
    config = build_config(content)
    texts = (config.attn, config.variant, config.dataset, config.queries, config.network, config.init or "none")
    if not all(map(is_text, texts)):
        raise TypeError("a name is not text")
    config.require_valid()
    return config


def read_reproduction(run: Path) -> RunFacts:
    """Return what is needed to reproduce a run: `config`, `request` and `init_run`; {} without config.json.

    Raises:
        DataProblemError, AttributeError, KeyError, TypeError, ValueError: the file is damaged.
    """
    if not (run / CONFIG).is_file():
        return {}
    content, info = split_config(read_json(run / CONFIG))
    json.dumps(content | info, allow_nan=False)  # raises ValueError for NaN, which no stored board can contain
    request, init = info.get(DATA_REQUEST), info.get(INIT_RUN)
    if (request is None or _is_request(request)) and (init is None or is_text(init)):
        return {"config": parse_config(content), "request": request, "init_run": Path(init).name if init else None}
    raise ValueError("the request of the data set or the initial run is not valid")


def read_data_folder(run: Path) -> Path | None:
    """Return the folder that a run's data set had when the run began; None if the record does not name it.

    Raises:
        DataProblemError, TypeError, OSError: config.json is damaged or missing.
    """
    folder = split_config(read_json(run / CONFIG))[1].get(DATA_FOLDER)
    return Path(path_of_text(folder)) if is_text(folder) else None


def _is_request(value: object) -> TypeGuard[RequestRecord]:
    """Return whether a value has the form of `mnistref.generation.generate.request_of`."""
    if not isinstance(value, dict) or not isinstance(value.get("sizes"), dict):
        return False
    has_sources = all(
        name in value and (value[name] is None or is_text(value[name])) for name in ("digits", "backgrounds")
    )
    has_sizes = all(is_text(split) and is_number(images, 0) for split, images in value["sizes"].items())
    has_ranges = all(_is_range(value.get(name, [1, 1])) for name in ("scales", "digits_per_image"))
    return (
        has_sources
        and has_sizes
        and has_ranges
        and is_number(value.get("canvas", 1))
        and is_number(value.get("seed"))
        and is_text(value.get("variant"))
        and is_text(value.get("pool"))
    )


def _is_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def read_hardware(run: Path) -> RunFacts:
    """Return the `hardware` and the `commit` of a run; {} without environment.json.

    Raises:
        DataProblemError, AttributeError, KeyError, TypeError: the file is damaged.
    """
    if not (run / ENVIRONMENT).is_file():
        return {}
    environment = _as_object(read_json(run / ENVIRONMENT), "an environment")
    hardware, commit = _describe_hardware(environment), environment.get("git")
    if is_text(environment["device"]) and (commit is None or is_text(commit)):
        return {"hardware": hardware, "commit": commit}
    raise TypeError("the device or the commit is not text")


def _describe_hardware(environment: Mapping[str, object]) -> str:
    """Return the name of the GPU, or that of the processor with the numbers of processes and threads."""
    if environment["device"] != "cpu":
        return str(environment["device"])
    processor = environment.get("processor") if is_text(environment.get("processor")) else "cpu"
    threads, processes = (environment.get(name) for name in ("threads", "processes"))
    shared = f"{processes} processes of " if is_number(processes, 2) else ""
    return f"{processor}, {shared}{threads} thread{'s' * (threads != 1)}" if is_number(threads, 1) else str(processor)


def read_run_without_result(run: Path, status: str) -> Result:
    """Return those entries of result.json that config.json and environment.json determine, and the status.

    Raises:
        OSError, DataProblemError, AttributeError, KeyError, TypeError, ValueError: a file is missing or damaged.
    """
    config = parse_config(split_config(read_json(run / CONFIG))[0])
    environment = _as_object(read_json(run / ENVIRONMENT), "an environment")
    device, version = environment["device"], environment["bench"]
    if not (is_text(device) and is_text(version)):
        raise TypeError("the device or the version is not text")
    return {
        STATUS: status,
        ATTN: config.attn,
        VARIANT: config.variant,
        "seed": config.seed,
        RECIPE: config.training,
        QUERIES: config.queries,
        DATASET: {"spec_id": config.dataset.removeprefix(f"{config.variant}-")},
        DEVICE: device,
        PRECISION: config.precision,
        BENCH_VERSION: version,
    }
