"""Reproduction of a run from a file such as its config.json: its configuration, data set and initial weights."""

from dataclasses import dataclass, replace
from pathlib import Path

from bench.attention import NetworkSpec, resolve_network
from bench.config import RunConfig
from bench.runs import records
from bench.runs.load import read_config
from mnistref.common.atomic_files import path_of_text
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.dataset import read_manifest
from mnistref.generation.generate import Request, make, plan


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
    network: NetworkSpec


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
        UsageProblemError: the file does not exist, or an argument is required; the message names it.
        DataProblemError: the file is damaged.
        MismatchProblemError: the data set is not that of the run.
    """
    if not path.is_file():
        raise UsageProblemError(f"{path}: no file here; --config takes config.json of a run")
    config, info = read_config(path)
    network = resolve_network(config.attn, config.width)
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
    return ResolvedRun(config, folder, start, network)


def _to_path(text: object) -> Path | None:
    return Path(path_of_text(text)) if isinstance(text, str) else None


def _find_dataset(config: RunConfig, root: Path) -> Path | None:
    """Return the folder of the data set of a run; None if it does not exist."""
    folder = root / "datasets" / config.dataset
    return folder if (folder / "dataset.json").is_file() else None


def _generate_dataset(path: Path, config: RunConfig, request: object, root: Path, given: dict[str, str | None]) -> Path:
    """Generate the data set of a run, and return its folder.

    Args:
        path: the file of the configuration, for messages.
        config: configuration of the run.
        request: how the original data set was generated, not validated.
        root: folder of all data.
        given: sources that replace those of the request, by name.
    """
    folder = root / "datasets" / config.dataset
    if not isinstance(request, dict):
        raise UsageProblemError(f"{folder}: no data set here, and {path} does not say how to generate it; give --data")
    sources = {name: source or request.get(name) for name, source in given.items()}
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
