"""The folder of a run: its configuration, environment, history and result as JSON files."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from bench.attention import present_name
from bench.common.json_files import parse_json, read_json, write_json
from bench.compute import ComputeConfig
from bench.config import EVALUATED, RunConfig
from bench.evaluation.columns import ATTN, RECIPE, STATUS, VARIANT
from bench.evaluation.record_keys import DAMAGED, OK, UNFINISHED
from bench.runs.answers import ANSWERS, PACKED_ANSWERS, read_answers, read_packed_answers, write_answers
from bench.runs.environment import collect_environment
from bench.runs.provenance import (
    CONFIG,
    DATA_FOLDER,
    DATA_REQUEST,
    ENVIRONMENT,
    INIT_RUN,
    READ_ERRORS,
    USER_FILES,
    build_damage_error,
    read_hardware,
    read_reproduction,
    read_run_without_result,
    split_config,
)
from bench.runs.record_types import HistoryEntry, Result, RunFacts, RunRecord
from bench.runs.validation import check_against_answers, check_result, check_same_run, is_number, is_result
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import NO_SUCH_FOLDER, DataProblemError, MismatchProblemError, UsageProblemError

if TYPE_CHECKING:
    from bench.training.epoch import EpochRecord

__all__ = [
    "ANSWERS",
    "CONFIG",
    "DATA_FOLDER",
    "DATA_REQUEST",
    "ENVIRONMENT",
    "INIT_RUN",
    "PACKED_ANSWERS",
    "USER_FILES",
    "Result",
    "RunRecord",
    "build_damage_error",
    "read_answers",
    "read_json",
    "read_packed_answers",
    "split_config",
    "write_answers",
    "write_json",
]

log = logging.getLogger("bench")

HISTORY, RESULT, WEIGHTS = "history.jsonl", "result.json", "weights.safetensors"
TRACEBACK = "traceback.txt"
"""The file with the traceback of the error that ended a run or its timing."""
MANY_RUNS = 20
"""Number of runs whose reading may take long, so that the user is informed."""


def require_same_run(run: Path, result: Result, config: RunConfig) -> None:
    """Raise an error unless the result and the configuration in a folder are of the same run.

    Raises:
        DataProblemError: they differ in the mechanism, the variant or the seed.
    """
    if wrong := check_same_run(result, config):
        raise DataProblemError(
            f"{run / CONFIG}: damaged (its {', '.join(wrong)} is not that of {RESULT}); restore the file, or delete "
            "the run's folder and run it again"
        )


def start_run(
    run: Path, config: Mapping[str, object], computing: ComputeConfig, resume: bool, processes: int = 1
) -> None:
    """Create the folder of a run, or reuse the folder of an interrupted run.

    Args:
        run: the folder.
        config: the content of config.json.
        computing: device and precision.
        resume: whether to keep the history and the checkpoint of an interrupted run.
        processes: number of processes that share the run.

    Raises:
        MismatchProblemError: the folder has a run with another configuration.
    """
    path = run / CONFIG
    content = json.loads(json.dumps(config))
    existing = read_json(path) if path.is_file() else None
    if existing is not None and not (
        isinstance(existing, dict) and split_config(existing)[0] == split_config(content)[0]
    ):
        raise MismatchProblemError(f"{path}: the run was made with another configuration; move it away and run again")
    write_json(path, content)
    write_json(run / ENVIRONMENT, {**collect_environment(computing), "processes": processes})
    for name in (RESULT, TRACEBACK):
        (run / name).unlink(missing_ok=True)
    if not resume:
        (run / HISTORY).unlink(missing_ok=True)
        for file in (run / "checkpoint").glob("*"):
            file.unlink()


def write_traceback(run: Path, text: str) -> None:
    """Write the traceback of the error that ended a run, or its timing, into its folder."""
    write_whole(run / TRACEBACK, f"{text}\n".encode("utf-8", "backslashreplace"))


def append_history(run: Path, record: "EpochRecord") -> None:
    """Append the record of an epoch to the history of a run."""
    with open(run / HISTORY, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_history(run: Path, warn: bool = True) -> list[HistoryEntry]:
    """Return the epochs of a run; [] if there are none. Lines that are not records are skipped.

    Args:
        run: the folder of the run.
        warn: whether to log a warning for each skipped line.
    """
    try:
        lines = (run / HISTORY).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    entries: list[HistoryEntry] = []
    for line in lines:
        try:
            entry = parse_json(line)
        except ValueError as error:
            if warn:
                log.warning("%s: skipped a line that is not JSON (%s)", run / HISTORY, error)
            continue
        if _is_entry(entry):
            entries.append(entry)
    return entries


def _is_entry(value: object) -> TypeGuard[HistoryEntry]:
    return isinstance(value, dict)


def read_training_totals(run: Path) -> RunFacts:
    """Return the `questions_seen` and the `device_hours` of a run, over all of its epochs.

    Each is None if an epoch does not have it, as in early versions, or if there are no epochs.
    """
    entries = read_history(run, warn=False)
    questions = [entry.get("questions") for entry in entries]
    seconds = [entry.get("device_seconds") for entry in entries]
    return {
        "questions_seen": round(sum(questions)) if entries and _are_amounts(questions) else None,
        "device_hours": sum(seconds) / 3600 if entries and _are_amounts(seconds) else None,
    }


def _are_amounts(values: list[object]) -> TypeGuard[list[float]]:
    return all(is_number(value, 0) for value in values)


def trim_history(run: Path, epochs: int) -> None:
    """Remove the lines of epochs after the last checkpoint. An interrupted run may have written one.

    Args:
        run: the folder of the run.
        epochs: number of complete epochs of the checkpoint.
    """
    path = run / HISTORY
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    write_whole(path, "".join(lines[:epochs]).encode())


def read_result(run: Path) -> Result | None:
    """Return the content of result.json of a run, with the present name of its network; None without the file.

    Raises:
        DataProblemError: the file is damaged.
    """
    path = run / RESULT
    if not path.is_file():
        return None
    content = read_json(path)
    if not is_result(content):
        wrong = ", ".join(check_result(content)[:3])
        raise DataProblemError(f"{path}: damaged ({wrong} missing or wrong); run the same command again")
    return content if content[RECIPE] == EVALUATED.name else {**content, ATTN: present_name(content[ATTN])}


def is_finished(run: Path) -> bool:
    """Return whether a run succeeded and has its result, its weights, and answers that match the result."""
    try:
        result, answers = read_result(run), read_answers(run)
    except DataProblemError:
        return False
    is_valid = result is not None and result[STATUS] == OK and not check_against_answers(result, answers)
    return is_valid and (run / WEIGHTS).is_file()


def require_run(folder: Path) -> None:
    """Raise UsageProblemError unless a folder has the record of a run."""
    if not folder.exists():
        raise UsageProblemError(f"{folder}: {NO_SUCH_FOLDER}")
    if not (folder / CONFIG).is_file():
        raise UsageProblemError(f"{folder}: no run here ({CONFIG} is missing); give a folder made by `bench run`")


def resolve_runs_folder(folder: Path) -> Path:
    """Return the folder of the runs: its subfolder `runs` for a stored board or a root of data, otherwise itself."""
    inner = folder / "runs"
    return inner if inner.is_dir() and not _list_runs(folder) else folder


def _list_runs(folder: Path) -> list[Path]:
    return sorted({path.parent for name in (CONFIG, RESULT) for path in Path(folder).glob(f"*/{name}")})


def read_results(runs: Path) -> Iterator[RunRecord]:
    """Yield the result of every run in a folder, in the order of the names, as `bench.leaderboard.aggregate` needs it.

    In addition to the content of result.json, a result has `run`, the name of the folder; `answers`, see
    `read_answers`; `config`, `request` and `init_run`, to reproduce the run; `hardware` and `commit`; and
    `questions_seen` and `device_hours`, see `read_training_totals`. If result.json is missing or damaged, the result
    has the status "unfinished" or "damaged", and the entries that the configuration determines. Damaged files are
    logged.

    Raises:
        OSError: a file cannot be read. The run is not skipped, because a board must be complete.
    """
    folders = _list_runs(runs)
    if len(folders) >= MANY_RUNS:
        log.info("%s: reading %d runs, which may take a minute …", runs, len(folders))
    for run in folders:
        result, status = _try_read_result(run)
        extras = _read_extras(run, result)
        if result and (wrong := check_against_answers(result, extras["answers"])):
            log.warning("%s: %s does not follow from its answers; run it again", run / RESULT, ", ".join(wrong[:3]))
            result, status = None, DAMAGED
        try:
            content = result or read_run_without_result(run, status)
            yield {**content, **extras, "run": run.name}
        except (*READ_ERRORS, FileNotFoundError, NotADirectoryError) as error:
            log.warning("%s: skipped, because it is not the record of a run (%s)", run, error)


def read_nonempty_results(runs: Path, variant: str | None = None) -> list[RunRecord]:
    """Return the results of all runs in a folder, or of those of one variant, see `read_results`.

    Raises:
        UsageProblemError: there are none.
    """
    results = [result for result in read_results(runs) if variant in (None, result[VARIANT])]
    if not results:
        of_variant = f" of {variant}" if variant else ""
        candidates = [str(folder) for folder in sorted(runs.glob("*")) if _list_runs(resolve_runs_folder(folder))]
        advice = f"use --runs {' or '.join(candidates)}" if candidates else "make one with `bench run`, or use --runs"
        raise UsageProblemError(f"{runs}: no runs{of_variant} here; {advice}")
    return results


def _try_read_result(run: Path) -> tuple[Result | None, str]:
    """Return the result of a run, or None, and the status of a run without one. Log a warning if it is damaged."""
    try:
        return read_result(run), UNFINISHED
    except DataProblemError as error:
        log.warning("%s", error)
        return None, DAMAGED


def _read_extras(run: Path, result: Result | None) -> RunFacts:
    """Return the entries of `read_results` that are not in result.json. Damaged files are skipped and logged."""

    def read_matching_reproduction(run: Path) -> RunFacts:
        found = read_reproduction(run)
        if result and found:
            require_same_run(run, result, found["config"])
        return found

    extras: RunFacts = {"answers": None}
    readers: dict[str, Callable[[Path], RunFacts]] = {
        ANSWERS: lambda run: {"answers": read_answers(run)},
        CONFIG: read_matching_reproduction,
        ENVIRONMENT: read_hardware,
        HISTORY: read_training_totals,
    }
    for file, read in readers.items():
        try:
            extras |= read(run)
        except (*READ_ERRORS, FileNotFoundError, NotADirectoryError) as error:
            log.warning("%s", build_damage_error(run / file, error))
    return extras
