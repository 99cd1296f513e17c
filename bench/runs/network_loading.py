"""Configuration, result and trained network of a finished run, loaded from its folder without pickle.

The only code that is executed is the user's own file of the run, and only if it has not been changed since.
"""

from pathlib import Path

import torch
from torch import nn

from bench.attention import plugins
from bench.common.json_files import read_json
from bench.config import EVALUATED, RunConfig
from bench.data.sets import variant_of_record
from bench.evaluation.any_model import as_network
from bench.evaluation.record_keys import OK
from bench.model import build
from bench.networks import network_of
from bench.runs import records
from bench.runs.provenance import build_config
from bench.runs.user_models import load_recorded_model
from bench.training.checkpoints import load_weights, require_weights_file
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.spec import VariantSpec


def load_config(run: Path) -> RunConfig:
    """Return the configuration of a run, and import the user's own files of the run.

    Raises:
        UsageProblemError: the folder is not a run, or a file of the user is missing or has changed.
        DataProblemError: config.json is damaged.
    """
    records.require_run(run)
    return read_config(run / records.CONFIG)[0]


def read_config(path: Path) -> tuple[RunConfig, dict[str, object]]:
    """Read a file such as config.json of a run, and import the user's own files of the run.

    Returns:
        The configuration, and the entries of `bench.runs.provenance.REPRODUCTION_KEYS`, which are not validated.

    Raises:
        UsageProblemError: a file of the user is missing or has changed.
        DataProblemError: the file is damaged.
    """
    try:
        content, info = records.split_config(read_json(path))
        files = info.get(records.USER_FILES, {})
        config = build_config(content)
        if not isinstance(files, dict):
            raise TypeError(f"{records.USER_FILES} is not an object")
        texts = {name: content[name] for name in ("attn", "variant", "dataset", "queries", "device", "precision")}
        for name, text in (texts | files).items():
            if not isinstance(text, str):
                raise ValueError(f"{name} is not text")
        config.require_valid()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise records.build_damage_error(path, error) from error
    if config.recipe != EVALUATED:  # `load_model` executes the file of a model that was tested only
        plugins.load_recorded(files)
    return config, info


def read_finished_result(run: Path) -> records.Result:
    """Return the content of result.json of a run that succeeded.

    Raises:
        DataProblemError: the run is not finished, has failed or has diverged, or result.json is damaged.
    """
    result = records.read_result(run)
    if result is None:
        raise DataProblemError(f"{run}: the run is not finished; repeat its `bench run` command to resume it")
    if result["status"] != OK:
        raise DataProblemError(
            f"{run}: the run has no network, because its status is {result['status']}; change its recipe and run again"
        )
    return result


def require_weights(run: Path, config: RunConfig) -> None:
    """Raise DataProblemError if the run is not finished, or has no weights to load."""
    records.require_same_run(run, read_finished_result(run), config)
    if config.recipe != EVALUATED:
        require_weights_file(run / records.WEIGHTS)


def load_model(run: Path) -> tuple[RunConfig, nn.Module]:
    """Return the configuration of a finished run, and its network in evaluation mode on the CPU.

    Raises:
        UsageProblemError: the folder is not a run, or a file of the user is missing or has changed.
        DataProblemError: the run is not finished; a file is damaged; the weights are missing or do not fit; or this
            version cannot build the network.
    """
    config = load_config(run)
    records.require_same_run(run, read_finished_result(run), config)
    info = read_config(run / records.CONFIG)[1]
    if config.recipe == EVALUATED:
        model = load_recorded_model(info.get(records.USER_FILES), run)
        variant = variant_of_record(info.get(records.DATA_REQUEST), config.variant)
        return config, as_network(model, variant.classes, variant.asks).eval()
    try:
        with torch.random.fork_rng(devices=[]):  # building draws initial weights, which are then overwritten
            variant = variant_of_record(info.get(records.DATA_REQUEST), config.variant)
            network = build(network_of(config), variant, config.seed, torch.device("cpu"))
    except UsageProblemError as error:
        raise DataProblemError(f"{run / records.CONFIG}: this version cannot build the network: {error}") from error
    load_weights(run / records.WEIGHTS, network)
    return config, network.eval()


def find_trained_variant(run: Path) -> VariantSpec:
    """Return the variant or the task that a run was trained on, according to its config.json.

    Raises:
        UsageProblemError, DataProblemError: see `read_config`; or there is no such variant.
    """
    config, info = read_config(run / records.CONFIG)
    return variant_of_record(info.get(records.DATA_REQUEST), config.variant)
