"""A run's folder: its configuration, environment, history and result as JSON. Append and read, no computing."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.common.json_files import read_json, write_json
from bench.compute import ComputeConfig
from bench.config import RunConfig
from bench.runs.answers import ANSWERS, PACKED_ANSWERS, packed_answers, read_answers, write_answers
from bench.runs.environment import environment
from bench.runs.validation import contradicted, is_number, is_text, malformed, other_run
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.common.version import VERSION
from mnistref.dataset import Manifest

__all__ = ["ANSWERS", "PACKED_ANSWERS", "packed_answers", "read_answers", "write_answers"]

log = logging.getLogger("bench")

CONFIG, ENVIRONMENT, HISTORY, RESULT = "config.json", "environment.json", "history.jsonl", "result.json"
WEIGHTS = "weights.safetensors"
PLACES, REQUEST, INIT = "attn_files", "data_request", "init_run"
"""Keys of config.json that decide nothing, but help to repeat the run: where the user's files lie that `attn` names by
their content; how the data set is made; where the run lies whose weights it starts from. All may have moved."""
ASIDE = (PLACES, REQUEST, INIT)
MANY = 20
"""Runs, of which what is made takes so long that one wants to be told."""
_DAMAGED = (DataProblemError, AttributeError, KeyError, TypeError, ValueError)
"""What reading records of another shape raises."""


def parted(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json holds → the configuration, and what stands `ASIDE` of it; a TypeError where it is none."""
    if not isinstance(content, dict):
        raise TypeError(f"{type(content).__name__} in place of a configuration")
    aside = {key: value for key, value in content.items() if key in ASIDE}
    return {key: value for key, value in content.items() if key not in ASIDE}, aside


def damaged(path: Path, error: Exception) -> DataProblemError:
    """Return the error for a file of a run that has another form; `error` is what reading it raised."""
    if isinstance(error, DataProblemError):
        return error
    missing = f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else ""
    why = missing or (str(error) if isinstance(error, ValueError | OSError) else "it has another form")
    return DataProblemError(f"{path}: damaged ({why}); restore the file, or delete the run's folder and run it again")


def refuse_contradiction(run: Path, result: Mapping[str, Any], config: RunConfig) -> None:
    """Raise a data error where a result and the configuration beside it are not of one run."""
    if wrong := other_run(result, vars(config)):
        raise DataProblemError(
            f"{run / CONFIG}: damaged (its {', '.join(wrong)} is not that of {RESULT}); restore the file, or delete "
            "the run's folder and run it again"
        )


def begin(run: Path, config: dict[str, Any], computing: ComputeConfig, resume: bool, processes: int = 1) -> None:
    """Make or enter a run's folder; unless resuming, empty it. One of another configuration is a mismatch."""
    path = run / CONFIG
    config = json.loads(json.dumps(config))
    before = read_json(path) if path.is_file() else None
    if before is not None and not (isinstance(before, dict) and parted(before)[0] == parted(config)[0]):
        raise MismatchProblemError(f"{path}: the run was made with another configuration; move it away and run again")
    write_json(path, config)
    write_json(run / ENVIRONMENT, environment(computing) | {"processes": processes})
    (run / RESULT).unlink(missing_ok=True)
    if not resume:
        (run / HISTORY).unlink(missing_ok=True)
        for file in (run / "checkpoint").glob("*"):
            file.unlink()


def append_history(run: Path, record: dict[str, Any]) -> None:
    with open(run / HISTORY, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def trim_history(run: Path, epochs: int) -> None:
    """Keep the lines of the first epochs: one may have been written after the last checkpoint."""
    path = run / HISTORY
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    write_whole(path, "".join(lines[:epochs]).encode())


def result(
    config: RunConfig, manifest: Manifest, computing: ComputeConfig, seconds: float, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    """result.json: what was run on what, what came of it, and where."""
    note = manifest.variant.note
    return {
        "status": outcome["status"],
        "attn": config.attn,
        "variant": config.variant,
        **({"note": note} if note else {}),
        "seed": config.seed,
        "recipe": config.training,
        "queries": config.queries,
        "dataset": {
            "spec_id": manifest.spec_id,
            "digits": manifest.digits.name,
            "backgrounds": manifest.backgrounds.name if manifest.backgrounds else None,
        },
        **{key: value for key, value in outcome.items() if key != "status"},
        "device": computing.device_name,
        "precision": config.precision,
        "capture": config.capture,
        "seconds": seconds,
        "bench_version": VERSION,
    }


def read_result(run: Path) -> dict[str, Any] | None:
    """result.json of a run, or None where there is none; a data error where it is not one."""
    path = run / RESULT
    if not path.is_file():
        return None
    result = read_json(path)
    wrong = malformed(result)
    if wrong:
        raise DataProblemError(f"{path}: damaged ({', '.join(wrong[:3])} missing or wrong); run the same command again")
    return result


def is_finished(run: Path) -> bool:
    """Whether a run ended well and has kept its result, answers that agree with it, and weights."""
    try:
        result, answers = read_result(run), read_answers(run)
    except DataProblemError:
        return False
    sound = result is not None and result["status"] == "ok" and not contradicted(result, answers)
    return sound and (run / WEIGHTS).is_file()


def runs_of(folder: Path) -> Path:
    """The folder itself, or the `runs` in it, as a board that is kept and a root of data have."""
    inner = folder / "runs"
    return inner if inner.is_dir() and not _runs_in(folder) else folder


def _runs_in(folder: Path) -> list[Path]:
    return sorted({path.parent for name in (CONFIG, RESULT) for path in Path(folder).glob(f"*/{name}")})


def results(runs: Path) -> Iterator[dict[str, Any]]:
    """The result of every run below a folder, in the order of the names, with all that `aggregate` takes.

    `run` is the folder's name; `answers` as in `read_answers`; `config`, `request` and `init_run` say how to do it
    again, `hardware` what did it, `commit` with which code. Of a run without a result, or with a damaged one, what its
    configuration tells, with the status unfinished or damaged.

    Raises OSError for what the system refuses, such as a file that may not be read: a board must not lack a run.
    """
    found = _runs_in(runs)
    if len(found) >= MANY:
        log.info("%s: %d runs, which may take a minute …", runs, len(found))
    for run in found:
        try:
            result, status = read_result(run), "unfinished"
        except DataProblemError as error:
            log.warning("%s", error)
            result, status = None, "damaged"
        beside = _beside(run, result)
        if result and (wrong := contradicted(result, beside["answers"])):
            log.warning("%s: %s does not follow from its answers; run it again", run / RESULT, ", ".join(wrong[:3]))
            result, status = None, "damaged"
        try:
            yield {**(result or {**_from_config(run), "status": status}), **beside, "run": run.name}
        except (*_DAMAGED, FileNotFoundError, NotADirectoryError) as error:
            log.warning("%s: not the record of a run (%s); left out", run, error)


def wanted_results(runs: Path, variant: str | None = None) -> list[dict[str, Any]]:
    """The `results`, or those of one variant; a usage error where there are none."""
    wanted = [result for result in results(runs) if variant in (None, result["variant"])]
    if not wanted:
        of_variant = f" of {variant}" if variant else ""
        below = [str(folder) for folder in sorted(runs.glob("*")) if _runs_in(runs_of(folder))]
        instead = f"give --runs {' or '.join(below)}" if below else "make one with `bench run`, or give --runs"
        raise UsageProblemError(f"{runs}: no runs{of_variant} here; {instead}")
    return wanted


def _beside(run: Path, result: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a run's folder holds beside its result; what is damaged is left out, and said."""

    def again(run: Path) -> dict[str, Any]:
        found = _again(run)
        if result and found:
            refuse_contradiction(run, result, found["config"])
        return found

    found: dict[str, Any] = {"answers": None}
    parts = {ANSWERS: lambda run: {"answers": read_answers(run)}, CONFIG: again, ENVIRONMENT: _made_with}
    for file, part in parts.items():
        try:
            found |= part(run)
        except (*_DAMAGED, FileNotFoundError, NotADirectoryError) as error:
            log.warning("%s", damaged(run / file, error))
    return found


def _again(run: Path) -> dict[str, Any]:
    """What says how to do a run again; {} without config.json."""
    if not (run / CONFIG).is_file():
        return {}
    content, aside = parted(read_json(run / CONFIG))
    json.dumps(content | aside, allow_nan=False)  # a ValueError for NaN, which no board can keep
    request, init = aside.get(REQUEST), aside.get(INIT)
    if not (request is None or _is_request(request)) or not (init is None or is_text(init)):
        raise ValueError(f"{CONFIG} does not say how the data set is made, or what it starts from")
    return {"config": _config(content), "request": request, "init_run": Path(init).name if init else None}


def _config(content: dict[str, Any]) -> RunConfig:
    """The configuration; one of the errors `_DAMAGED` where a value is none that a run can have."""
    config = RunConfig.from_dict(content)
    texts = (config.attn, config.variant, config.dataset, config.queries, config.init or "none")
    if not all(map(is_text, texts)):
        raise TypeError("a name is no text")
    config.require_valid()
    return config


def _is_request(value: Any) -> bool:
    """Whether this is what `mnistref.generation.generate.request_of` gives."""
    if not isinstance(value, dict) or not isinstance(value.get("sizes"), dict):
        return False
    named = all(name in value and (value[name] is None or is_text(value[name])) for name in ("digits", "backgrounds"))
    sizes = all(is_text(split) and is_number(images, 0) for split, images in value["sizes"].items())
    return (
        named
        and sizes
        and is_number(value.get("seed"))
        and is_text(value.get("variant"))
        and is_text(value.get("pool"))
    )


def _made_with(run: Path) -> dict[str, Any]:
    """What computed a run, and with which code; {} without environment.json."""
    if not (run / ENVIRONMENT).is_file():
        return {}
    environment = read_json(run / ENVIRONMENT)
    hardware, commit = _hardware(environment), environment.get("git")
    if not is_text(environment["device"]) or not (commit is None or is_text(commit)):
        raise TypeError(f"{ENVIRONMENT} names no device, or no commit")
    return {"hardware": hardware, "commit": commit}


def _hardware(environment: Mapping[str, Any]) -> str:
    """The GPU, or the processor and how much of it."""
    if environment["device"] != "cpu":
        return str(environment["device"])
    processor = environment.get("processor") if is_text(environment.get("processor")) else "cpu"
    threads, processes = (environment.get(name) for name in ("threads", "processes"))
    many = f"{processes} processes of " if is_number(processes, 2) else ""
    return f"{processor}, {many}{threads} thread{'s' * (threads != 1)}" if is_number(threads, 1) else str(processor)


def _from_config(run: Path) -> dict[str, Any]:
    config = _config(parted(read_json(run / CONFIG))[0])
    environment = read_json(run / ENVIRONMENT)
    if not (is_text(environment["device"]) and is_text(environment["bench"])):
        raise TypeError(f"{ENVIRONMENT} names no device, or no version")
    return {
        **{key: getattr(config, key) for key in ("attn", "variant", "seed", "queries", "precision")},
        "recipe": config.training,
        "dataset": {"spec_id": config.dataset.removeprefix(f"{config.variant}-")},
        "device": environment["device"],
        "bench_version": environment["bench"],
    }
