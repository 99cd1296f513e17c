"""A comparison of the costs of networks: time of a training step and of inference, memory, and numerical error."""

import copy
import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.attention import NetworkSpec
from bench.common.memory import ran_out
from bench.compute import ComputeConfig, describe_threads
from bench.config import DEFAULT_NETWORK, DEFAULT_WIDTH, TIMING_ROUNDS, Recipe
from bench.conformance.isolation import ProbeProcess
from bench.evaluation.column import QUARTILES, Column, reorder, with_suffixes
from bench.evaluation.columns import (
    ATTN,
    COLUMNS,
    DIAGONAL_LSTM,
    GRADIENT_ERROR,
    INFER_MS,
    INFER_RATIOS,
    LOGITS_ERROR,
    OVER_NONE,
    PARAMS,
    PEAK_MEMORY_MB,
    SAVED_MB,
    STEP_RATIOS,
    TRAIN_STEP_MS,
)
from bench.kernels.diagonal_lstm import ImplementationError
from bench.model import SlotNetwork, build
from bench.networks import NETWORKS, Network, resolve
from bench.profiling.timing import Spread, Timing, Workload, random_batch, time_networks
from bench.training.capture_mode import resolve_capture
from bench.training.step import set_dropout
from mnistref.common.errors import RunProblemError, UsageProblemError
from mnistref.common.text_table import table
from mnistref.spec import GLYPH, VariantSpec

log = logging.getLogger("bench")

BASELINES = {True: ("san", "pan-ctx"), False: ("none",)}
"""Whether images have a question → the networks that all others are compared with. They are always timed."""
RUNTIME_COLUMNS = reorder(
    (column for column in COLUMNS if column.runtime_heading), {PARAMS: TRAIN_STEP_MS, OVER_NONE: INFER_MS}
)
"""The possible columns of the table, in its order."""
_ERROR_BATCHES, _ERROR_IMAGES = 5, 4
"""Number of batches on which errors are measured, and images per batch."""

Value = str | int | float | None
"""A value of a row."""


@dataclass(frozen=True)
class TimingConditions:
    """What all timed networks have in common."""

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
    network: str = DEFAULT_NETWORK
    width: int = DEFAULT_WIDTH

    def __str__(self) -> str:
        where = f"{self.device} ({describe_threads(self.threads)})" if self.device == "cpu" else self.device
        is_default = (self.network, self.width) == (DEFAULT_NETWORK, DEFAULT_WIDTH)
        network = "" if is_default else f"{self.network}, width {self.width}, "
        return network + (
            f"{self.variant} ({self.canvas} px), batch {self.batch}, {where}, {self.precision}, {self.capture}, "
            f"{self.optimizer}, {self.rounds} rounds, torch {self.torch}"
        )


@dataclass(frozen=True)
class NumericalError:
    """Relative errors (norms) compared with the same network in double precision; None for networks that sample."""

    logits: float | None
    gradient: float | None


@dataclass(frozen=True)
class NetworkCost:
    """The cost of one network.

    Attributes:
        attn: name of the network.
        params: number of parameters.
        timing: time and memory.
        step_ratios: baseline → ratio of the training steps, round by round.
        infer_ratios: baseline → ratio of inference, round by round, for the first baseline.
        error: numerical error.
    """

    attn: str
    params: int
    timing: Timing
    step_ratios: Mapping[str, Spread]
    infer_ratios: Mapping[str, Spread]
    error: NumericalError

    def as_dict(self) -> dict[str, Value]:
        """Return the values of those `RUNTIME_COLUMNS` that it has, each followed by its quartiles if it has any."""
        values: dict[str, Value | Spread] = {
            ATTN: self.attn,
            PARAMS: self.params,
            TRAIN_STEP_MS: self.timing.step,
            **{STEP_RATIOS[baseline]: ratio for baseline, ratio in self.step_ratios.items()},
            INFER_MS: self.timing.infer,
            **{INFER_RATIOS[baseline]: ratio for baseline, ratio in self.infer_ratios.items()},
            PEAK_MEMORY_MB: self.timing.peak_memory_mb,
            SAVED_MB: self.timing.saved_mb,
            LOGITS_ERROR: self.error.logits,
            GRADIENT_ERROR: self.error.gradient,
            DIAGONAL_LSTM: self.timing.diagonal_lstm,
        }
        row: dict[str, Value] = {}
        for column in RUNTIME_COLUMNS:
            if column.name not in values:
                continue
            value = values[column.name]
            row[column.name] = value.median if isinstance(value, Spread) else value
            if column.quartiles and isinstance(value, Spread):
                _, *names = with_suffixes([column.name], QUARTILES)
                row |= dict(zip(names, value.quartiles, strict=True))
        return row


class RuntimeReport(TypedDict):
    """The JSON that `bench runtime --json` prints."""

    setting: dict[str, str | int]
    networks: list[dict[str, Value]]


def resize(variant: VariantSpec, canvas: int) -> VariantSpec:
    """Return a variant with images of another size in pixels, whose digits fit. Only the size matters for times."""
    small, large = (min(scale, canvas / GLYPH) for scale in variant.scales)
    return replace(variant, canvas=canvas, scales=(small, large))


def measure_runtime(
    networks: Sequence[str | NetworkSpec],
    variant: VariantSpec,
    recipe: Recipe,
    computing: ComputeConfig,
    rounds: int = TIMING_ROUNDS,
    architecture: Network = NETWORKS[DEFAULT_NETWORK],
) -> tuple[TimingConditions, list[NetworkCost]]:
    """Time networks and the baselines alternately.

    Args:
        networks: slot lists, or resolved networks of this architecture and width.
        variant: gives the sizes of images, queries and labels.
        recipe: gives the optimizer and the number of images per step.
        computing: device, precision and capture.
        rounds: number of rounds.
        architecture: the network around the mechanisms; its `width` is that of all networks.

    Returns:
        The common conditions, and the costs of the baselines and of the networks.

    Raises:
        UsageProblemError: a mechanism does not exist, or the implementation of the diagonal LSTM that the environment
            variable names cannot run.
        RunProblemError: the batch does not fit into the memory of the device.
    """
    size = (variant.canvas, variant.canvas)
    resolved = [
        resolve(network, architecture.width, architecture.name, size) if isinstance(network, str) else network
        for network in (*BASELINES[variant.asks], *networks)
    ]
    timed = list(dict.fromkeys(resolved))
    with ProbeProcess() as probe:
        for network in timed:
            probe.require_buildable_in_probe(network, variant)
    computing = _with_common_capture(computing, timed, variant, recipe)
    try:
        models = {network.name: build(network, variant, 0, computing.device) for network in timed}
        errors = {
            network.name: _numerical_error(network, models[network.name], variant, computing) for network in timed
        }
        timings = time_networks(models, Workload(recipe, variant), computing, rounds)
    except ImplementationError as error:
        raise UsageProblemError(str(error)) from error
    except Exception as error:
        if not ran_out(error):
            raise
        reason = f"batch {recipe.batch}: not enough memory on {computing.device.type}; give a smaller --batch"
        raise RunProblemError(reason) from error
    conditions = TimingConditions(
        variant=variant.name,
        canvas=variant.canvas,
        batch=recipe.batch,
        device=computing.device_name,
        threads=torch.get_num_threads(),
        precision=computing.precision,
        capture=computing.capture,
        optimizer=recipe.optimizer,
        rounds=rounds,
        torch=torch.__version__,
        network=architecture.name,
        width=architecture.width,
    )
    names = BASELINES[variant.asks]
    baselines = {name: timings[name] for name in names}
    return conditions, [
        NetworkCost(
            attn=name,
            params=sum(p.numel() for p in model.parameters()),
            timing=timings[name],
            step_ratios={each: timings[name].step.ratio_to(timing.step) for each, timing in baselines.items()},
            infer_ratios={names[0]: timings[name].infer.ratio_to(timings[names[0]].infer)},
            error=errors[name],
        )
        for name, model in models.items()
    ]


def _with_common_capture(
    computing: ComputeConfig, networks: Sequence[NetworkSpec], variant: VariantSpec, recipe: Recipe
) -> ComputeConfig:
    """Return the configuration with the capture that all networks support, for one question per image."""
    one_question = replace(recipe, questions="one")
    captures = [
        resolve_capture(computing.capture, computing.device.type, network, variant, one_question)
        for network in networks
    ]
    capture, reason = next((each for each in captures if each[0] == "eager"), captures[0])
    if reason:
        log.info("%s", reason)
    return replace(computing, capture=capture)


def _numerical_error(
    network: NetworkSpec, model: SlotNetwork, variant: VariantSpec, computing: ComputeConfig
) -> NumericalError:
    """Return the errors of the logits, and of the gradient of all parameters, compared with fp64.

    They are medians over small batches: if rounding changes the position of a maximum in a batch, the gradient of that
    batch is far off. The network is in training mode without dropout.
    """
    if network.is_random:
        return NumericalError(None, None)
    exact_model = copy.deepcopy(model).double()
    model = copy.deepcopy(model)
    full_precision = replace(computing, precision="fp32")
    logits_errors, gradient_errors = [], []
    with computing.backend_flags():
        for seed in range(_ERROR_BATCHES):
            torch.manual_seed(seed)
            batch = random_batch(_ERROR_IMAGES, variant, computing.device)
            logits, gradient = _logits_and_gradient(model, batch, computing)
            exact_logits, exact_gradient = _logits_and_gradient(exact_model, batch, full_precision)
            logits_errors.append(_relative_error(logits, exact_logits))
            gradient_errors.append(_relative_error(gradient, exact_gradient))
    return NumericalError(statistics.median(logits_errors), statistics.median(gradient_errors))


def _logits_and_gradient(
    network: SlotNetwork, batch: tuple[Tensor, Tensor, Tensor], computing: ComputeConfig
) -> tuple[Tensor, Tensor]:
    """Return the logits, and the gradient of the loss as one vector in the dtype of the network."""
    images, query, label = batch
    set_dropout(network.train(), 0.0)
    parameters = list(network.parameters())
    dtype = parameters[0].dtype
    with computing.autocast():
        logits = network(images.to(dtype), query).logits
    gradients = torch.autograd.grad(F.cross_entropy(logits.to(dtype), label), parameters)
    return logits, torch.cat([gradient.flatten() for gradient in gradients])


def _relative_error(value: Tensor, exact: Tensor) -> float:
    value, exact = value.detach().double(), exact.detach()
    return float((value - exact).norm() / exact.norm())


def to_text(conditions: TimingConditions, costs: Sequence[NetworkCost]) -> str:
    """Return a table for people, below a line with the conditions. Quartiles of the rounds are in parentheses."""
    rows = [cost.as_dict() for cost in costs]
    columns = [column for column in RUNTIME_COLUMNS if any(column.name in row for row in rows)]
    lines = [[column.runtime_heading for column in columns]]
    lines += [[_cell(column, row) for column in columns] for row in rows]
    return f"{conditions}\n\n{table(lines)}"


def _cell(column: Column, row: Mapping[str, Value]) -> str:
    """Return a value as text, with its quartiles if it has any; "" if it is missing."""
    number_format = column.runtime_format or column.number_format
    value, *quartiles = (row.get(name) for name in with_suffixes([column.name], QUARTILES))
    if number_format is None or not isinstance(value, int | float):
        return str(value or "")
    low, high = (number_format(each) if isinstance(each, int | float) else "" for each in quartiles)
    return f"{number_format(value)} ({low}–{high})" if column.quartiles else number_format(value)


def to_json(conditions: TimingConditions, costs: Sequence[NetworkCost]) -> RuntimeReport:
    """Return what `bench runtime --json` prints."""
    return RuntimeReport(setting=asdict(conditions), networks=[cost.as_dict() for cost in costs])
