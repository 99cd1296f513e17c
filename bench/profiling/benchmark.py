"""What networks cost, side by side: time of a training step and of inference, memory, and error of their numbers."""

import copy
import logging
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention import canonical_name, resolve_network
from bench.common.memory import ran_out
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH, TIMING_ROUNDS, Recipe
from bench.conformance.isolation import ProbeProcess
from bench.kernels.diagonal_lstm import ImplementationError
from bench.model import AttributeCNN, build
from bench.profiling.timing import Spread, Timing, example, measure
from bench.training.capture import resolve_capture
from mnistref.common.errors import RunProblemError, UsageProblemError
from mnistref.common.text_table import table
from mnistref.spec import VariantSpec

log = logging.getLogger("bench")

BASELINES = ("san", "pan-ctx")
"""What every other network is compared with; always among those that are timed."""

ERROR_BATCHES, ERROR_IMAGES = 5, 4
COLUMNS = (
    *("attn", "params", "train_step_ms", "train_step_ms_q1", "train_step_ms_q3"),
    *(f"over_{name.replace('-', '_')}{end}" for name in BASELINES for end in ("", "_q1", "_q3")),
    *("infer_ms_per_image", "infer_ms_per_image_q1", "infer_ms_per_image_q3", "infer_over_san"),
    *("peak_memory_mb", "saved_mb", "logits_error", "gradient_error"),
    "diagonal_lstm",
)
"""Of a row. `over_…`: the ratio of the steps, round by round. The errors: relative norms, against fp64.
`diagonal_lstm`: which implementations of it ran, None for none."""


@dataclass(frozen=True)
class Setting:
    """What all rows have in common."""

    variant: str
    canvas: int
    batch: int
    device: str
    threads: int
    precision: str
    capture: str
    optimizer: str
    rounds: int
    torch: str

    def __str__(self) -> str:
        where = f"{self.device} ({self.threads} threads)" if self.device == "cpu" else self.device
        return (
            f"{self.variant} ({self.canvas} px), batch {self.batch}, {where}, {self.precision}, {self.capture}, "
            f"{self.optimizer}, {self.rounds} rounds, torch {self.torch}"
        )


def runtime(
    names: Sequence[str],
    variant: VariantSpec,
    recipe: Recipe,
    computing: ComputeConfig,
    rounds: int = TIMING_ROUNDS,
) -> tuple[Setting, list[dict[str, Any]]]:
    """Time the networks of these names, and the baselines, turn by turn. → what they share, and a row for each.

    A row has the keys of `COLUMNS`; the errors are None where a network draws samples. The batch is the recipe's.

    Raises:
        UsageProblemError: there is no such mechanism, or the implementation of the diagonal LSTM that the environment
            variable names cannot run.
        RunProblemError: the batch does not fit into the device's memory.
    """
    wanted = list(dict.fromkeys((*BASELINES, *map(canonical_name, names))))
    with ProbeProcess() as apart:
        for name in wanted:
            apart.require_buildable(name, variant)
    computing = _captured(computing, wanted, variant, recipe)
    try:
        models = {name: build(name, variant, 0, computing.device) for name in wanted}
        errors = {name: _errors(name, model, variant, computing) for name, model in models.items()}
        timed = measure(models, recipe, variant, computing, rounds)
    except ImplementationError as error:
        raise UsageProblemError(str(error)) from error
    except Exception as error:
        if not ran_out(error):
            raise
        reason = f"batch {recipe.batch}: not enough memory on {computing.device.type}; give a smaller --batch"
        raise RunProblemError(reason) from error
    setting = Setting(
        variant.name,
        variant.canvas,
        recipe.batch,
        computing.device_name,
        torch.get_num_threads(),
        computing.precision,
        computing.capture,
        recipe.optimizer,
        rounds,
        torch.__version__,
    )
    return setting, [_row(name, models[name], timed, errors[name]) for name in wanted]


def _captured(computing: ComputeConfig, names: Sequence[str], variant: VariantSpec, recipe: Recipe) -> ComputeConfig:
    """Return how all networks are timed alike, each with one question about an image."""
    one = replace(recipe, questions="one")
    found = [resolve_capture(computing.capture, computing.device.type, name, variant, one) for name in names]
    capture, why = next(filter(lambda each: each[0] == "eager", found), found[0])
    if why:
        log.info("%s", why)
    return replace(computing, capture=capture)


def _row(
    name: str, model: nn.Module, timed: dict[str, Timing], errors: tuple[float, float] | tuple[None, None]
) -> dict[str, Any]:
    own = timed[name]
    values = [name, sum(p.numel() for p in model.parameters()), *_three(own.step)]
    for baseline in BASELINES:
        values += _three(own.step.over(timed[baseline].step))
    values += [*_three(own.infer), own.infer.over(timed["san"].infer).median]
    values += [own.peak_memory_mb, own.saved_mb, *errors, own.diagonal_lstm]
    return dict(zip(COLUMNS, values, strict=True))


def _three(spread: Spread) -> list[float]:
    return [spread.median, *spread.quartiles]


def _errors(
    name: str, model: AttributeCNN, variant: VariantSpec, computing: ComputeConfig
) -> tuple[float, float] | tuple[None, None]:
    """Relative errors of the logits and of the gradient, all parameters together, against the same network in fp64.

    Medians over small batches: where one maximum of a batch is another one after rounding, its gradient is far off.
    Without dropout, in training: statistics are the batch's.
    """
    if resolve_network(name, DEFAULT_WIDTH).is_random:
        return None, None
    rough, exact = copy.deepcopy(model), copy.deepcopy(model).double()
    uncast = replace(computing, precision="fp32")
    pairs = []
    with computing.backend_flags():
        for seed in range(ERROR_BATCHES):
            torch.manual_seed(seed)
            data = example(ERROR_IMAGES, variant, computing.device)
            pairs.append((_outcome(rough, data, computing), _outcome(exact, data, uncast)))
    return (
        statistics.median(_relative(rough[0], exact[0]) for rough, exact in pairs),
        statistics.median(_relative(rough[1], exact[1]) for rough, exact in pairs),
    )


def _outcome(
    network: AttributeCNN, data: tuple[Tensor, Tensor, Tensor], computing: ComputeConfig
) -> tuple[Tensor, Tensor]:
    """Logits and the gradient of the loss as one vector, in the dtype of the network."""
    images, query, label = data
    for module in network.train().modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    parameters = list(network.parameters())
    dtype = parameters[0].dtype
    with computing.autocast():
        logits = network(images.to(dtype), query).logits
    parts = torch.autograd.grad(F.cross_entropy(logits.to(dtype), label), parameters)
    return logits, torch.cat([part.flatten() for part in parts])


def _relative(rough: Tensor, exact: Tensor) -> float:
    rough, exact = rough.detach().double(), exact.detach()
    return float((rough - exact).norm() / exact.norm())


def to_text(setting: Setting, rows: Sequence[dict[str, Any]]) -> str:
    """A table for people, under a line that says what it holds for. In brackets the quartiles of the rounds."""
    head = ["network", "params", "step, ms", "/ san", "/ pan-ctx", "inference, ms an image", "/ san"]
    lines = [[*head, "peak, MB", "saved, MB", "error of logits", "of gradient", "diagonal LSTM"]]
    for row in rows:
        errors = ("" if row[k] is None else f"{row[k]:.0e}" for k in ("logits_error", "gradient_error"))
        lines.append(
            [
                row["attn"],
                f"{row['params']:,}",
                _between(row, "train_step_ms", ".3g"),
                _between(row, "over_san", ".2f"),
                _between(row, "over_pan_ctx", ".2f"),
                _between(row, "infer_ms_per_image", ".3g"),
                f"{row['infer_over_san']:.2f}",
                f"{row['peak_memory_mb']:.0f}",
                f"{row['saved_mb']:.0f}",
                *errors,
                row["diagonal_lstm"] or "",
            ]
        )
    return f"{setting}\n\n{table(lines)}"


def _between(row: dict[str, Any], key: str, form: str) -> str:
    low, high = (_digits(row[f"{key}_{end}"], form) for end in ("q1", "q3"))
    return f"{_digits(row[key], form)} ({low}–{high})"


def _digits(value: float, form: str) -> str:
    return f"{value:,.0f}" if value >= 1000 else format(value, form)


def to_json(setting: Setting, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `--json` prints."""
    return {"setting": asdict(setting), "networks": list(rows)}
