"""A configuration from a file → the run again: its data found or made, the run it starts from found."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.runs import records
from bench.runs.load import read_config
from mnistref.common.atomic_files import path_of_text
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.dataset import read_manifest
from mnistref.generation.generate import Request, make, plan


@dataclass(frozen=True)
class ResolvedRun:
    """What `bench.runs.experiment.run` takes to do a run again."""

    config: RunConfig
    data: Path
    init: Path | None


def find(
    path: Path,
    root: Path,
    data: Path | None = None,
    init: Path | None = None,
    digits: str | None = None,
    backgrounds: str | None = None,
) -> ResolvedRun:
    """The run that a file such as config.json describes.

    Args:
        path: the file.
        root: where data sets are kept; a missing one is made there.
        data, init: the data set, and the run that it starts from, where they lie elsewhere now.
        digits, backgrounds: sources of a missing set that were folders of the user's.

    Raises:
        UsageProblemError: there is no such file, or something else is needed, which it names.
        DataProblemError: the file is damaged.
        MismatchProblemError: the data are not those that the run was made with.
    """
    if not path.is_file():
        raise UsageProblemError(f"{path}: no file here; --config takes config.json of a run")
    config, aside = read_config(path)
    started = init or _path(aside.get(records.INIT))
    if config.init and started is None:
        raise UsageProblemError(f"{path}: the run starts from the weights of another one ({config.init}); give --init")
    if started and not started.is_dir():
        raise UsageProblemError(f"{path}: the run starts from the weights of {started}, which is not here; give --init")
    folder = data or _data(path, config, aside.get(records.REQUEST), root, digits, backgrounds)
    name = read_manifest(folder).folder_name
    if name != config.dataset:
        raise MismatchProblemError(f"{folder}: this is {name}, and the run was made with {config.dataset}")
    return ResolvedRun(config, folder, started)


def _path(text: Any) -> Path | None:
    return Path(path_of_text(text)) if isinstance(text, str) else None


def _data(path: Path, config: RunConfig, asked: Any, root: Path, digits: str | None, backgrounds: str | None) -> Path:
    folder = root / "datasets" / config.dataset
    if (folder / "dataset.json").is_file():
        return folder
    if not isinstance(asked, dict):
        raise UsageProblemError(f"{folder}: no data set here, and {path} does not say how it is made; give --data")
    sources = {
        "digits": digits or asked.get("digits"),
        "backgrounds": backgrounds or asked.get("backgrounds"),
    }
    for name, source in sources.items():
        if source is None:
            raise UsageProblemError(f"{config.dataset} was made from a folder of {name}; give --{name} DIR, or --data")
    try:
        request = Request(**{**asked, **sources, "root": root, "skip_bad": True})  # what counts is what comes of it
        made = plan(request)
        if made.photos and made.spec.folder_name != config.dataset:  # an early set, whose photos include copies?
            early = plan(replace(request, keep_copies=True))
            made = early if early.spec.folder_name == config.dataset else made
    except (AttributeError, TypeError) as error:
        raise DataProblemError(f"{path}: does not say how the data set is made ({error}); give --data") from error
    if made.spec.folder_name != config.dataset:
        raise MismatchProblemError(
            f"{path}: the run was made with {config.dataset}, and these sources give {made.spec.folder_name}"
        )
    return make(made)
