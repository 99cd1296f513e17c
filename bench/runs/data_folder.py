"""Where the data set of a run is on this machine."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import RunConfig
from bench.runs.provenance import read_data_folder, read_reproduction
from bench.runs.shell_command import build_generate_command
from mnistref.common.errors import ProblemError, UsageProblemError
from mnistref.spec import VariantSpec

if TYPE_CHECKING:
    from bench.data.sets import DataSet


def list_data_folders(dataset: str, roots: Iterable[Path]) -> list[Path]:
    """Return the folders datasets/<dataset> that exist in these roots, in the order of the roots.

    A name that no data set can have, such as one that leaves the folder, is in none of them.
    """
    if not re.fullmatch(r"\w[\w.-]*", dataset):
        return []
    return [folder for root in roots if (folder := root / "datasets" / dataset).is_dir()]


def find_data_folder(run: Path, dataset: str, root: Path) -> Path | None:
    """Return the folder of a run's data set; None if it is not on this machine.

    It is looked for in three places, in this order: the root that the run is in, `root`, and the folder that the data
    set had when the run began.

    Args:
        run: the folder of the run.
        dataset: the name of the data set, as in the run's configuration.
        root: another root of data sets.

    Raises:
        DataProblemError, TypeError, OSError: config.json is damaged or missing.
    """
    found = list_data_folders(dataset, (run.resolve().parent.parent, root))
    if found:
        return found[0]
    recorded = read_data_folder(run)
    return recorded if recorded and _has_name(recorded, dataset) else None


def _has_name(folder: Path, dataset: str) -> bool:
    """Return whether a folder is the data set of this name. Its user may have renamed it."""
    if not folder.is_dir() or folder.name == dataset:
        return folder.is_dir()
    from bench.data.sets import read_manifest  # imports torch

    try:
        return read_manifest(folder).folder_name == dataset
    except ProblemError:
        return False


def resolve_data_folder(run: Path, config: RunConfig, root: Path) -> Path:
    """Return the folder of a run's data set.

    Raises:
        UsageProblemError: it is in none of the places of `find_data_folder`.
    """
    if found := find_data_folder(run, config.dataset, root):
        return found
    request = read_reproduction(run).get("request")
    how = f"; this command generates it: {build_generate_command(request)}" if request else ""
    missing = root / "datasets" / config.dataset
    raise UsageProblemError(
        f"{missing}: the run's data set does not exist here; give its place with --data or --root{how}"
    )


def resolve_fitting_folder(run: Path, data: Path | None, root: Path) -> Path:
    """Return `data`, or else the folder of a run's data set; its numbers of queries and classes fit the network.

    Raises:
        UsageProblemError: there is no data set, or the network has other numbers of queries or classes.
        DataProblemError: the run has no weights. This is found out before the user looks for its data set.
    """
    from bench.runs.network_loading import find_trained_variant, load_config, require_weights  # imports torch

    config = load_config(run)
    require_weights(run, config)
    folder = data or resolve_data_folder(run, config, root)
    read_fitting_manifest(folder, find_trained_variant(run))
    return folder


def read_fitting_manifest(folder: Path, trained: VariantSpec) -> "DataSet":
    """Return the manifest of a data set.

    Args:
        folder: the data set.
        trained: the variant or task that the network was trained on.

    Raises:
        UsageProblemError: the network has other numbers of queries or classes.
    """
    from bench.data.sets import read_manifest  # imports torch

    manifest = read_manifest(folder)
    has, wants = [(v.queries, v.classes) for v in (manifest.variant, trained)]
    if has != wants:
        raise UsageProblemError(
            f"{folder}: {has[0]} queries and {has[1]} classes, but this network, trained on {trained.name}, has "
            f"{wants[0]} and {wants[1]}; give a data set with the same numbers"
        )
    return manifest
