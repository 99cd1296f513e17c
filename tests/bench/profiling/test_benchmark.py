"""Costs of networks: alternating times, memory and numerical errors, and the command `bench runtime`."""

import gc
import json
import re
import statistics
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import cli
from bench.attention import MECHANISMS, canonical_names
from bench.compute import ComputeConfig
from bench.config import RECIPES, Recipe
from bench.model import create_model
from bench.profiling import timing
from bench.profiling.benchmark import NetworkCost, NumericalError, TimingConditions, measure_runtime, to_json, to_text
from bench.profiling.timing import LiveTensors, Spread, Timing, random_batch, saved_memory, time_networks
from bench.training.step import Step, build_optimizer
from mnistref.common.errors import UsageProblemError
from mnistref.variants import get_variant

CPU = torch.device("cpu")
ON_CPU = ComputeConfig(CPU)
MINI = get_variant("mini")
SHORT = Recipe("fast", "adam", lr=0.003, batch=32, epochs=3, schedule="onecycle")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def network(attn: str) -> nn.Module:
    torch.manual_seed(0)
    return create_model(attn, variant="mini")


def test_timing_does_not_change_the_network():
    model = network("pan")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    timed = time_networks({"pan": model, "arnn": network("arnn")}, SHORT, MINI, ON_CPU, rounds=3)
    pan = timed["pan"]
    assert 0 < pan.infer.median < pan.step.median
    assert len(pan.step.values) == len(pan.infer.values) == 3
    assert (pan.batch, pan.threads) == (32, torch.get_num_threads())
    # Each of 32 images leaves at least its two largest maps, 32 × 48 × 48 floats before the pooling and the gradient.
    assert 2 * 32 * 32 * 48 * 48 * 4e-6 < pan.peak_memory_mb < 100
    assert timed["arnn"].peak_memory_mb > 2 * pan.peak_memory_mb
    assert 0 < pan.saved_mb < pan.peak_memory_mb
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_quick_functions_are_called_several_times_per_round(monkeypatch):
    """Only the timed functions advance the clock of this test."""
    calls, now = [], [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def work(name: str, seconds: float) -> None:
        calls.append(name)
        now[0] += seconds

    quick, slow = timing.MIN_ROUND_SECONDS / 7.5, timing.MIN_ROUND_SECONDS * 2
    found = timing._time_alternately(
        {"quick": lambda: work("quick", quick), "slow": lambda: work("slow", slow)}, CPU, 3
    )
    warm, eight = timing.WARM_UP_CALLS, ["quick"] * 8
    assert calls == ["quick"] * warm + ["slow"] * warm + [*eight, "slow", "slow", *eight, *eight, "slow"]
    assert found["quick"].values == pytest.approx([quick] * 3)
    assert found["slow"].values == pytest.approx([slow] * 3)


def test_ratio_of_times_is_computed_round_by_round():
    slow, fast = Spread((4.0, 6.0, 10.0, 9.0)), Spread((2.0, 2.0, 5.0, 3.0))
    assert slow.ratio_to(fast).values == (2.0, 3.0, 2.0, 3.0)
    assert slow.ratio_to(fast).median == 2.5
    assert slow.median == statistics.median(slow.values) == 7.5
    assert slow.quartiles == (5.5, 9.25)
    assert Spread((3.0,)).quartiles == (3.0, 3.0)


class Square(nn.Module):
    """A network with logits (w x)²: the square saves its argument, and the product saves both factors."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images, query):
        y = self.weight * images
        return create_output(y.view(len(images), -1).square())


def create_output(logits):
    from bench.model import Output

    return Output(logits, [])


def test_saved_memory_excludes_weights_and_data():
    images = torch.rand(5, 1, 10, 10)
    assert saved_memory(Square(), images, torch.zeros(5, dtype=torch.long), ON_CPU) == 5 * 100 * 4e-6


def test_counted_memory_is_freed():
    """This includes operations that save their output, such as a sigmoid."""
    images, query, _ = random_batch(2, MINI, CPU)
    with LiveTensors() as live:
        saved_memory(create_model("pan", "mini"), images, query, ON_CPU)
        gc.collect()
    assert live.peak > 0
    assert live.now == 0


def test_live_tensors_counts_the_memory_of_existing_tensors():
    there = torch.zeros(100)
    with timing.LiveTensors() as live:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000
        del a
        c = b.view(10, 100).add_(1)  # the same memory
        there.mul_(2)
        d = torch.zeros(500)  # 6,000
        assert (live.now, live.peak) == (6000, 8000)
        del b, c
        assert live.now == 2000
        del d
    assert (live.now, live.peak) == (0, 8000)


def test_training_step_equals_a_plain_implementation():
    """A step computes the loss before the update, clips the gradients, and updates with Adam."""
    images, query, label = random_batch(8, MINI, CPU)
    model, other = network("pan"), network("pan")
    recipe = replace(SHORT, clip=0.1)
    torch.manual_seed(3)
    loss, logits, before = Step(model, recipe, build_optimizer(recipe, model), ON_CPU)(images, query, label)
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(other.parameters(), lr=recipe.lr)
    expected = nn.functional.cross_entropy(other(images, query).logits, label)
    expected.backward()
    norm = torch.stack([p.grad.norm() for p in other.parameters()]).norm()
    assert norm > 0.1
    torch.testing.assert_close(before, norm)
    for p in other.parameters():
        p.grad *= 0.1 / norm
    optimizer.step()
    torch.testing.assert_close(loss, expected.detach())
    assert not loss.requires_grad
    assert logits.shape == (8, 5)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_timing_restores_the_precision_of_matrix_products():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for precision, matmul in (("fp32", "highest"), ("tf32", "high"), ("bf16", "highest")):
        with ComputeConfig(CPU, precision).backend_flags():
            assert torch.get_float32_matmul_precision() == matmul
            assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


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
    assert text.startswith(
        f"mini (48 px), batch 8, cpu ({torch.get_num_threads()} threads), fp32, eager, adam, 3 rounds"
    )
    assert len(text.splitlines()) == 7


def test_runtime_table_has_units_separators_and_quartiles():
    step, infer, san = Spread((1100.0, 1234.0, 1300.0)), Spread((0.5, 0.123456, 12.0)), Spread((500.0, 550.0, 650.0))
    timing_of = Timing(step, infer, 1234.4, 56.7, 8, 2, "cpu")
    ratios = {"san": step.ratio_to(san), "pan-ctx": step.ratio_to(step)}
    cost = NetworkCost("arnn", 1234567, timing_of, ratios, infer.ratio_to(infer), NumericalError(1.23e-6, None))
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


def test_a_wrong_implementation_is_a_usage_error(monkeypatch):
    for name, message in (("nonsense", "cpu, packed, reference, triton"), ("triton", "on CUDA")):
        monkeypatch.setenv("BENCH_DIAGONAL_LSTM", name)
        assert message in command("--variant", "mini", code=2)
    monkeypatch.setenv("BENCH_DIAGONAL_LSTM", "packed")
    options = ("--attn", "none+none+none+arnn", "--variant", "mini", "--batch", "4", "--rounds", "1")
    rows = json.loads(command(*options, "--json"))["networks"]
    assert [row["diagonal_lstm"] for row in rows] == [None, None, "packed"]


def test_numbers_are_printed_if_the_chart_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(
        cli.bench,
        ["runtime", "--variant", "mini", "--batch", "4", "--rounds", "1", "--plot", str(tmp_path / "file" / "x.png")],
    )
    assert done.exit_code == 5
    assert "pan-ctx" in done.stdout


def test_commas_separate_networks_and_plus_separates_slots():
    assert canonical_names("san,none+arnn,ctx") == ["san", "none,arnn", "pan-ctx"]
    with pytest.raises(UsageProblemError, match="did you mean"):
        canonical_names("san,arn")
    with pytest.raises(UsageProblemError, match="a name is missing"):
        canonical_names("san,")


def command(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.bench, ["runtime", *arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_runtime_command_prints_json_and_draws_a_chart(tmp_path):
    chart = tmp_path / "bars.png"
    common = ("--attn", "pan", "--attn", "san,none+pan", "--variant", "mini", "--batch", "4", "--rounds", "1")
    found = json.loads(command(*common, "--json", "--plot", str(chart)))
    assert [row["attn"] for row in found["networks"]] == ["san", "pan-ctx", "pan", "none,pan"]
    assert found["setting"]["batch"] == 4
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert "none,pan" in command(*common)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attn", "arn"], "did you mean 'arnn'"),
        (["--variant", "mbgg"], "did you mean"),
        (["--plot", "bars.txt"], "give a name that ends in"),
        (["--device", "cpu", "--precision", "tf32"], "only CUDA devices support it"),
        (["--device", "cpu", "--capture", "graph"], "only CUDA devices support it"),
        (["--recipe", "fats"], "did you mean 'fast'"),
        (["--batch", "1"], "--batch"),
    ],
)
def test_wrong_arguments_of_the_runtime_command(arguments, message):
    assert message in command(*arguments, code=2)


@on_cuda
@pytest.mark.parametrize("attn", MECHANISMS)
def test_captured_step_trains_like_an_eager_step(attn, monkeypatch):
    """Losses, statistics and random draws are equal over several steps. Rounding errors grow with each step."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    device, recipe = torch.device("cuda"), RECIPES["fast"]
    results = []
    for capture in ("eager", "graph"):
        model = network(attn).to(device, memory_format=torch.channels_last).train()
        step = Step(model, recipe, build_optimizer(recipe, model), ComputeConfig(device, capture=capture))
        torch.manual_seed(1)
        batches = [random_batch(16, MINI, device) for _ in range(4)]
        torch.manual_seed(2)
        first = step(*batches[0])
        gradients = [p.grad.clone() for p in model.parameters()]
        losses = [first.loss.clone(), *(step(*batch).loss.clone() for batch in batches[1:])]
        results.append((first.norm.clone(), gradients, torch.stack(losses), list(model.buffers())))
    (norm, gradients, losses, statistics), (norm2, gradients2, losses2, statistics2) = results
    torch.testing.assert_close(norm2, norm, rtol=1e-3, atol=0)
    for a, b in zip(gradients2, gradients, strict=True):
        assert (a - b).norm() < 1e-3 * norm
    torch.testing.assert_close(losses2, losses, rtol=1e-2, atol=0)
    torch.testing.assert_close(statistics2, statistics, rtol=1e-2, atol=1e-2)


@on_cuda
def test_captured_inference_uses_new_data_and_refuses_another_shape():
    model = network("pan-ctx").cuda().eval()
    recorded = timing.CapturedFunction(torch.inference_mode()(lambda x, q: model(x, q).logits))
    for _ in range(3):
        images, query, _ = random_batch(4, MINI, torch.device("cuda"))
        torch.testing.assert_close(recorded(images, query).clone(), model(images, query).logits.detach())
    with pytest.raises(ValueError, match="captured with"):
        recorded(images[:2], query)
