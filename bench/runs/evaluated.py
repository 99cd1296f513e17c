"""The record of a model that was trained elsewhere and is only tested here (`bench evaluate`)."""

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.attention import known_mechanisms
from bench.attention.user_code import describe_error
from bench.compute import ComputeConfig
from bench.config import EVALUATED, RunConfig
from bench.data.loading import load_split
from bench.data.sets import DataSet, describe_request, read_manifest
from bench.evaluation import snapshots
from bench.evaluation.any_model import AnyModel, as_network
from bench.evaluation.columns import STATUS
from bench.evaluation.evaluate import BATCH_IMAGES, ZERO, DivergedError, measure_questions, summarize, warn_about_zeros
from bench.evaluation.record_keys import OK
from bench.runs import records
from bench.runs.provenance import ReproductionInfo
from bench.runs.result import build_result
from bench.runs.user_models import UserModel, make_user_model
from mnistref.common.atomic_files import exclusive, path_to_text, write_whole
from mnistref.common.errors import ProblemError, RunProblemError, UsageProblemError

log = logging.getLogger("bench")


@dataclass(frozen=True)
class TrainedElsewhere:
    """A model that was trained elsewhere.

    Attributes:
        text: path/to/file.py:function, a function that returns a module or a function of (images, query), see
            `bench.evaluation.any_model.AnyModel`.
        name: name of the model on boards; by default file.py:function.
        seed: the seed that the model was trained with, so that boards average over seeds.
    """

    text: str
    name: str | None = None
    seed: int = 0


def evaluate_file(
    model: TrainedElsewhere,
    data: Path,
    runs: Path,
    computing: ComputeConfig,
    queries: str = "one",
    batch: int = BATCH_IMAGES,
) -> Path:
    """Test a model on the test split of a data set, write the record of a run, and return its folder.

    A record of the same model is replaced, because its weights may have changed. Nothing is written if the test fails.

    Args:
        model: the model.
        data: folder of the data set.
        runs: folder of all runs.
        computing: the device.
        queries: which questions are asked.
        batch: questions per call.

    Raises:
        UsageProblemError: there is no such file, function or data set; the name is not allowed; or the model returns no
            answers, which a board needs.
        RunProblemError: the model raises, or its output has a wrong shape or is not finite.
        DataProblemError: a file of the data set is damaged.
    """
    text, name = model.text, model.name
    _require_name(name)
    manifest = read_manifest(data)
    manifest.require_split("test")
    user_model = make_user_model(text)
    attn = f"{name}#{user_model.digest}" if name else user_model.name
    config = RunConfig(
        attn=attn,
        variant=manifest.variant.name,
        dataset=manifest.folder_name,
        seed=model.seed,
        recipe=EVALUATED,
        queries=queries,
        precision=computing.precision,
        device=computing.device.type,
    )
    folder = runs / config.run_id
    log.info("%s on %s, %s", attn, config.dataset, computing.description)
    if manifest.variant.note:
        log.info("%s is %s", config.variant, manifest.variant.note)
    started = time.perf_counter()
    network = as_network(user_model.model, manifest.variant.classes, manifest.variant.asks).to(computing.device)
    split = load_split(data, "test", queries, computing.device, masks=True)
    try:
        with computing.backend_flags():
            values = measure_questions(network, split, batch)
            tested = summarize(values, split)
        warn_about_zeros(values.every.get(ZERO))
        if isinstance(network, AnyModel) and not network.has_answers:
            raise UsageProblemError(
                f"{text}: the model returns maps alone, and a board needs answers; use bench.evaluate in Python"
            )
        pictures = snapshots.take_snapshots(network, split, manifest.variant)
    except (ProblemError, OSError):
        raise
    except DivergedError as error:
        raise RunProblemError(f"{text}: {error}; return finite numbers") from error
    except (Exception, SystemExit) as error:  # user code may raise any error
        raise RunProblemError(f"{text}: the test raises {describe_error(error)}") from error
    outcome = {STATUS: OK, **tested.measures, **_count_parameters(network)}
    result = build_result(config, manifest, computing, round(time.perf_counter() - started, 3), outcome)
    with exclusive(runs / ".locks" / f"{config.run_id}.lock", folder):
        records.start_run(
            folder, {**config.as_dict(), **_reproduction_info(user_model, data, manifest)}, computing, False
        )
        write_whole(folder / records.HISTORY, b"")
        records.write_answers(folder, tested.answers)
        snapshots.write_snapshots(folder, pictures)
        records.write_json(folder / records.RESULT, result)
    return folder


def _require_name(name: str | None) -> None:
    if name is None:
        return
    if not re.fullmatch(r"\w[\w.+-]*", name) or name.endswith(".py"):
        raise UsageProblemError(f"--name {name!r}: use letters, digits and . + - _")
    if name in known_mechanisms():
        raise UsageProblemError(f"--name {name}: this is a mechanism of bench; use another name")


def _count_parameters(network: nn.Module) -> dict[str, int]:
    """Return the number of learned parameters as `params`; {} for a function, whose parameters are not known."""
    is_module = not isinstance(network, AnyModel) or isinstance(network.model, nn.Module)
    return {"params": sum(p.numel() for p in network.parameters())} if is_module else {}


def _reproduction_info(user_model: UserModel, data: Path, manifest: DataSet) -> ReproductionInfo:
    return {
        "attn_files": user_model.files,
        "data_request": describe_request(manifest),
        "data_folder": path_to_text(data.resolve()),
    }
