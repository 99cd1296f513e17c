"""Reproduction of a run from a file such as its config.json: its configuration, data set and initial weights."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from bench.common.json_files import parse_json
from bench.config import EVALUATED, RunConfig
from bench.data.sets import read_manifest
from bench.evaluation.columns import BASELINE_NAME, BENCH_VERSION, DEVICE, RECIPE, STATUS, VARIANT
from bench.evaluation.record_keys import BEST_EPOCH, VAL_ACCURACY
from bench.model import CheckedNetwork
from bench.networks import network_of
from bench.runs import records
from bench.runs.data_folder import list_data_folders
from bench.runs.network_loading import read_config
from bench.tasks import TASKS, prepare_task
from bench.tasks.store import TASK_FILE
from mnistref.common.atomic_files import path_of_text
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.generation.generate import Request, make, plan

_OTHER_FILES = {
    "result.json of a run": {STATUS, RECIPE, BENCH_VERSION},
    "environment.json of a run": {"bench", DEVICE, "packages"},
    "history.jsonl of a run": {"epoch", "train_loss", VAL_ACCURACY},
    "state.json of a checkpoint": {BEST_EPOCH, "groups", "schedule"},
    "dataset.json of a data set": {"format_version", "spec_id", "splits"},
    "task.json of a prepared task": {"format_version", "task", "preparation"},
    "board.json of a board": {VARIANT, BASELINE_NAME},
    "croissant.json of a data set": {"@context", "recordSet"},
}
"""JSON files that are taken for a configuration by mistake, and keys that only they have."""


@dataclass(frozen=True)
class ResolvedRun:
    """The arguments of `bench.runs.experiment.run` for a run.

    Attributes:
        config: configuration of the run.
        data: folder of the data set.
        init: folder of the run with the initial weights, or None.
        network: the network of the configuration.
    """

    config: RunConfig
    data: Path
    init: Path | None
    network: CheckedNetwork


def resolve_config_file(
    path: Path,
    root: Path,
    data: Path | None = None,
    init: Path | None = None,
    digits: str | None = None,
    backgrounds: str | None = None,
) -> ResolvedRun:
    """Return the run that a file such as config.json describes. Generate its data set if it does not exist.

    Args:
        path: the file.
        root: folder of all data.
        data: folder of the data set; None to look in `root`.
        init: folder of the run with the initial weights; None to use the path in the file.
        digits: source of digits, required if the original source was a folder of the user.
        backgrounds: source of backgrounds, required if the original source was a folder of the user.

    Raises:
        UsageProblemError: the file does not exist or is another file, or an argument is required; the message names it.
        DataProblemError: the file is damaged.
        MismatchProblemError: the data set is not that of the run.
    """
    if not path.is_file():
        known = (
            f"this is a folder; give {path / records.CONFIG}"
            if (path / records.CONFIG).is_file()
            else "this is a folder without a run"
            if path.is_dir()
            else "no file here"
        )
        raise UsageProblemError(f"{path}: {known}; --config takes config.json of a run")
    _require_configuration(path)
    config, info = read_config(path)
    if config.recipe == EVALUATED:
        raise UsageProblemError(f"{path}: the network was not trained here; repeat its test with `bench evaluate`")
    network = network_of(config)
    start = init or _to_path(info.get(records.INIT_RUN))
    if config.init and start is None:
        raise UsageProblemError(f"{path}: the run starts from the weights of another run ({config.init}); give --init")
    if start and not start.is_dir():
        raise UsageProblemError(
            f"{path}: the run starts from the weights of {start}, which does not exist; give --init"
        )
    folder = data or _find_dataset(config, root)
    if folder is None:
        request = info.get(records.DATA_REQUEST)
        folder = _generate_dataset(path, config, request, root, {"digits": digits, "backgrounds": backgrounds})
    name = read_manifest(folder).folder_name
    if name != config.dataset:
        raise MismatchProblemError(f"{folder}: this data set is {name}, but the run was made with {config.dataset}")
    return ResolvedRun(config, folder, start, CheckedNetwork(network))


def _require_configuration(path: Path) -> None:
    """Raise an error unless a file looks like config.json of a run. Its values are not checked.

    Raises:
        UsageProblemError: it is another JSON file.
        DataProblemError: it is not JSON.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataProblemError(f"{path}: not JSON ({error}); --config takes config.json of a run") from error
    keys = {*content} if isinstance(content, dict) else set()
    if isinstance(content, dict) and isinstance(content.get("recipe"), dict):
        return
    for name, distinctive in _OTHER_FILES.items():
        if distinctive <= keys:
            raise UsageProblemError(f"{path}: this is {name}; --config takes config.json of a run")
    if not keys & {field.name for field in fields(RunConfig)}:
        raise UsageProblemError(f"{path}: this JSON file is no configuration; --config takes config.json of a run")


def _to_path(text: object) -> Path | None:
    return Path(path_of_text(text)) if isinstance(text, str) else None


def _find_dataset(config: RunConfig, root: Path) -> Path | None:
    """Return the folder of the data set of a run in `root`; None if it does not exist or is not finished."""
    found = list_data_folders(config.dataset, [root])
    return next((f for f in found if any((f / name).is_file() for name in ("dataset.json", TASK_FILE))), None)


def _generate_dataset(
    path: Path, config: RunConfig, request: object, root: Path, user_sources: dict[str, str | None]
) -> Path:
    """Generate the data set of a run, and return its folder.

    Args:
        path: the file of the configuration, for messages.
        config: configuration of the run.
        request: how the original data set was generated, not validated.
        root: folder of all data.
        user_sources: sources that replace those of the request, by name.
    """
    folder = root / "datasets" / config.dataset
    if not isinstance(request, dict):
        raise UsageProblemError(f"{folder}: no data set here, and {path} does not say how to generate it; give --data")
    if "task" in request:
        return _prepare_task(folder, request, root)
    sources = {name: source or request.get(name) for name, source in user_sources.items()}
    for name, source in sources.items():
        if source is None:
            raise UsageProblemError(f"{config.dataset} was made from a folder of {name}; give --{name} DIR, or --data")
    try:
        # bad photos may be skipped, because the identity of the planned data set is compared
        planned_request = Request(**{**request, **sources, "root": root, "skip_bad": True})
        planned = plan(planned_request)
        if planned.photos and planned.spec.folder_name != config.dataset:  # early versions kept copies of photos
            early = plan(replace(planned_request, keep_copies=True))
            planned = early if early.spec.folder_name == config.dataset else planned
    except (AttributeError, TypeError) as error:
        raise DataProblemError(f"{path}: the request of the data set is not valid ({error}); give --data") from error
    if planned.spec.folder_name != config.dataset:
        raise MismatchProblemError(
            f"{path}: the run was made with {config.dataset}, but these sources give {planned.spec.folder_name}"
        )
    return make(planned)


def _prepare_task(folder: Path, request: dict[str, object], root: Path) -> Path:
    """Prepare the task of a run, and return its folder.

    Args:
        folder: the folder that it should have.
        request: how it was prepared, see `bench.tasks.store.TaskRequest`, not validated.
        root: folder of all data.
    """
    task, canvas = request.get("task"), request.get("canvas")
    if task not in TASKS or type(canvas) is not int:
        raise UsageProblemError(
            f"{folder}: no data set here; prepare it from its folder of images with `bench run --task folder:DIR`, or "
            "give --data"
        )
    return prepare_task(str(task), root, canvas)
