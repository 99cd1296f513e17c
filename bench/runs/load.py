"""A finished run, read back from its folder: configuration, network and weights. Nothing is unpickled.

The only code that runs is the user's own file that the run was made with, and only if it is still that file.
"""

from pathlib import Path
from typing import Any

import torch

from bench.attention import plugins
from bench.config import RunConfig
from bench.model import AttributeCNN, build
from bench.runs import records
from bench.training.checkpoints import load_weights
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.variants import get_variant


def load_config(run: Path) -> RunConfig:
    """What a run was, and its user's own files loaded again, which runs them.

    A usage error where there is no run, or where an own file is gone or changed; a data error where config.json is
    damaged.
    """
    path = run / records.CONFIG
    if not path.is_file():
        raise UsageProblemError(f"{run}: no run here ({records.CONFIG} is missing); give a folder made by `bench run`")
    return read_config(path)[0]


def read_config(path: Path) -> tuple[RunConfig, dict[str, Any]]:
    """A file such as config.json of a run: its configuration, and what stands aside of it (`records.ASIDE`).

    Loads and raises as `load_config`.
    """
    try:
        content, aside = records.parted(records.read_json(path))
        files = aside.get(records.PLACES, {})
        config = RunConfig.from_dict(content)
        texts = {name: content[name] for name in ("attn", "variant", "dataset", "queries", "device", "precision")}
        for name, text in (texts | files).items():
            if not isinstance(text, str):
                raise ValueError(f"{name} is not text")
        config.require_valid()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise records.damaged(path, error) from error
    plugins.find_again(files)
    return config, aside


def load_result(run: Path) -> dict[str, Any]:
    """result.json of a run that ended well; a data error that says what to do where it has not."""
    result = records.read_result(run)
    if result is None:
        raise DataProblemError(f"{run}: the run is not finished; give its `bench run` command again, and it goes on")
    if result["status"] != "ok":
        raise DataProblemError(
            f"{run}: the run {result['status']} and left no network; change its recipe and run again"
        )
    return result


def load_model(run: Path) -> tuple[RunConfig, AttributeCNN]:
    """A finished run's configuration, and its network for evaluation, on the CPU.

    Raises as `load_config` and `load_result`; a data error too where the network cannot be built here, or where the
    weights are missing, damaged or of another network.
    """
    config = load_config(run)
    records.refuse_contradiction(run, load_result(run), config)
    try:
        with torch.random.fork_rng(devices=[]):  # weights are drawn, to be overwritten
            model = build(config.attn, get_variant(config.variant), config.seed, torch.device("cpu"), config.width)
    except UsageProblemError as error:
        raise DataProblemError(f"{run / records.CONFIG}: cannot be built here: {error}") from error
    load_weights(run / records.WEIGHTS, model)
    return config, model.eval()
