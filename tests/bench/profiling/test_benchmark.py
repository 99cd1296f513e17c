"""The comparison of networks: times, memory and numerical errors."""

import json
import re
from dataclasses import replace

import pytest
import torch

from bench.attention import canonical_names
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.networks import NETWORKS, create, resolve
from bench.profiling.benchmark import (
    NetworkCost,
    NumericalError,
    TimingConditions,
    measure_runtime,
    resize,
    to_json,
    to_text,
)
from bench.profiling.timing import Spread, Timing
from mnistref.common.errors import UsageProblemError
from mnistref.variants import get_variant
from tests.bench.attention.user_modules import BODY, write_module

CPU = torch.device("cpu")
ON_CPU = ComputeConfig(CPU)
MINI = get_variant("mini")
SHORT = Recipe("fast", "adam", lr=0.003, batch=32, epochs=3, schedule="onecycle")


@pytest.fixture(scope="module")
def measured():
    return measure_runtime(["none,arnn", "arnn-sampled"], MINI, replace(SHORT, batch=8), ON_CPU, rounds=3)


def rows_of(measured) -> list[dict]:
    return to_json(*measured)["networks"]


KEYS = (
    "attn params train_step_ms train_step_ms_q1 train_step_ms_q3 over_san over_san_q1 over_san_q3 over_pan_ctx "  # noqa: SIM905
    "over_pan_ctx_q1 over_pan_ctx_q3 infer_ms_per_image infer_ms_per_image_q1 infer_ms_per_image_q3 infer_over_san "
    "peak_memory_mb saved_mb logits_error gradient_error diagonal_lstm".split()
)


def test_runtime_is_compared_with_the_baselines(measured):
    setting, costs = measured
    rows = rows_of(measured)
    assert [row["attn"] for row in rows] == ["san", "pan-ctx", "none,arnn", "arnn-sampled"]
    assert all(list(row) == KEYS for row in rows)
    by_name = {row["attn"]: row for row in rows}
    assert by_name["san"]["over_san"] == by_name["pan-ctx"]["over_pan_ctx"] == 1
    for row in rows:
        assert row["train_step_ms_q1"] <= row["train_step_ms"] <= row["train_step_ms_q3"]
        assert 0 < row["saved_mb"] < row["peak_memory_mb"]
    assert (setting.batch, setting.device, setting.precision, setting.capture) == (8, "cpu", "fp32", "eager")
    assert [row["diagonal_lstm"] for row in rows] == [None, None, "cpu", "cpu"]
    json.dumps(to_json(setting, costs))
    text = to_text(setting, costs)
    assert text.splitlines()[-1].rstrip().endswith("cpu")
    threads = "1 thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads"
    assert text.startswith(f"mini (48 px), batch 8, cpu ({threads}), fp32, eager, adam, 3 rounds")
    assert len(text.splitlines()) == 7


def test_runtime_table_has_units_separators_and_quartiles():
    step, infer, san = Spread((1100.0, 1234.0, 1300.0)), Spread((0.5, 0.123456, 12.0)), Spread((500.0, 550.0, 650.0))
    timing_of = Timing(step, infer, 1234.4, 56.7, 8, 2, "cpu")
    ratios = {"san": step.ratio_to(san), "pan-ctx": step.ratio_to(step)}
    infer_ratios = {"san": infer.ratio_to(infer)}
    cost = NetworkCost("arnn", 1234567, timing_of, ratios, infer_ratios, NumericalError(1.23e-6, None))
    conditions = TimingConditions("mini", 48, 8, "cpu", 2, "fp32", "eager", "adam", 3, "2.11")
    first, _, head, *_, line = to_text(conditions, [cost]).splitlines()
    assert first == "mini (48 px), batch 8, cpu (2 threads), fp32, eager, adam, 3 rounds, torch 2.11"
    assert re.split(" {2,}", head.strip()) == [
        *("network", "params", "step, ms", "/ san", "/ pan-ctx", "inference, ms an image", "/ san", "peak, MB"),
        *("saved, MB", "error of logits", "of gradient", "diagonal LSTM"),
    ]
    assert re.split(" {2,}", line.strip()) == [
        *("arnn", "1,234,567", "1,234 (1,167–1,267)", "2.20 (2.10–2.22)", "1.00 (1.00–1.00)", "0.5 (0.312–6.25)"),
        *("1.00", "1234", "57", "1e-06", "cpu"),
    ]


def test_images_without_a_question_are_compared_with_none():
    variant = resize(get_variant("mone"), 16)
    residual = replace(NETWORKS["resnet18"], width=4)
    measured = measure_runtime(["cbam"], variant, replace(SHORT, batch=4), ON_CPU, 1, architecture=residual)
    none, cbam = rows_of(measured)
    assert (none["attn"], none["step_over_none"], none["infer_over_none"]) == ("none", 1, 1)
    assert cbam["step_over_none"] == cbam["train_step_ms"] / none["train_step_ms"]
    assert cbam["infer_over_none"] == cbam["infer_ms_per_image"] / none["infer_ms_per_image"]
    assert none["params"] == sum(
        p.numel() for p in create(resolve("none", 4, "resnet18"), 10, 0, (16, 16)).parameters()
    )
    assert not {"over_san", "over_pan_ctx", "infer_over_san"} & set(none)
    assert to_text(*measured).startswith("resnet18, width 4, mone (16 px), batch 4")
    assert to_text(*measured).splitlines()[2].count("/ none") == 2


def test_ratio_of_one_round_is_the_quotient_of_the_printed_times():
    rows = rows_of(measure_runtime(["none,arnn"], MINI, replace(SHORT, batch=4), ON_CPU, rounds=1))
    san, ctx, other = rows
    for row in rows:
        assert row["over_san"] == row["train_step_ms"] / san["train_step_ms"]
        assert row["over_pan_ctx"] == row["train_step_ms"] / ctx["train_step_ms"]
        assert row["infer_over_san"] == row["infer_ms_per_image"] / san["infer_ms_per_image"]
    assert other["attn"] == "none,arnn"


def test_numerical_errors_match_the_precision(measured):
    """Errors are about 1e-6 in single and 1e-2 in half precision; a sampled network has none."""
    rows = {row["attn"]: row for row in rows_of(measured)}
    for name in ("san", "pan-ctx", "none,arnn"):
        assert 1e-9 < rows[name]["logits_error"] < 1e-5
        assert 1e-9 < rows[name]["gradient_error"] < 1e-4
    assert rows["arnn-sampled"]["logits_error"] is rows["arnn-sampled"]["gradient_error"] is None
    half = rows_of(measure_runtime([], MINI, replace(SHORT, batch=8), ComputeConfig(CPU, "bf16"), rounds=1))
    for row in half:
        assert 1e-4 < row["logits_error"] < 0.05
        assert 1e-3 < row["gradient_error"] < 0.5


def test_numerical_errors_do_not_depend_on_other_timed_networks(measured):
    rows = rows_of(measure_runtime([], MINI, replace(SHORT, batch=8), ON_CPU, rounds=1))
    for row, before in zip(rows, rows_of(measured), strict=False):
        assert (row["logits_error"], row["gradient_error"]) == (before["logits_error"], before["gradient_error"])


def test_commas_separate_networks_and_plus_separates_slots():
    assert canonical_names("san,none+arnn,ctx") == ["san", "none,arnn", "pan-ctx"]
    with pytest.raises(UsageProblemError, match="did you mean"):
        canonical_names("san,arn")
    with pytest.raises(UsageProblemError, match="a name is missing"):
        canonical_names("san,")


def test_numerical_errors_are_without_dropout_of_any_kind(tmp_path):
    drop = "self.drop = nn.Dropout2d(0.5)"
    module = write_module(tmp_path, BODY.format(init=drop, forward="return score + self.drop(x).mean(1, keepdim=True)"))
    own = rows_of(measure_runtime([f"{module}:Own"], MINI, replace(SHORT, batch=4), ON_CPU, rounds=1))[-1]
    assert own["attn"].startswith("own.py:Own")
    assert own["logits_error"] < 1e-5
    assert own["gradient_error"] < 1e-4
