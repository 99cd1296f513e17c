"""What ran, and how: the diagonal LSTM, the capture of steps, batches of validation and test, the commit."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch

from bench.attention import resolve_network
from bench.compute import ComputeConfig, explain_nondeterminism
from bench.config import Recipe
from bench.conformance.checks import require_buildable
from bench.data.loading import load_split
from bench.evaluation.batch_size import draws, in_memory, sizes
from bench.evaluation.evaluate import accuracy
from bench.evaluation.evaluate import test as measure
from bench.evaluation.unchecked_metrics import BINS, curve_of
from bench.kernels.diagonal_lstm import VARIABLE, ImplementationError
from bench.leaderboard import snapshot
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import from_csv, to_csv, to_text
from bench.model import create_model
from bench.runs import experiment
from bench.runs.environment import COMMIT_VARIABLE, get_commit
from bench.runs.validation import check_result
from bench.training.capture_mode import resolve_capture
from mnistref.common.errors import UsageProblemError
from mnistref.variants import VARIANTS
from tests.bench.leaderboard.helpers import result
from tests.helpers import TOP

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
EXAMPLE = TOP / "bench" / "examples" / "own_attention.py"
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")
LAST = "none,none,none,arnn"


def configured(mini, attn=LAST):
    return experiment.configure(mini, attn, 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU)))


@pytest.fixture(scope="module")
def runs(mini, tmp_path_factory):
    """A run with a diagonal LSTM and one without."""
    pytest.importorskip("numba")
    runs = tmp_path_factory.mktemp("ran")
    for attn in (LAST, "san"):
        experiment.run(replace(configured(mini, attn), recipe=replace(SHORT, epochs=1)), mini, runs)
    return runs


def test_result_names_the_used_implementation(runs):
    found = {r["attn"]: r for r in map(json.loads, (path.read_text() for path in runs.glob("*/result.json")))}
    assert (found[LAST]["diagonal_lstm"], found["san"]["diagonal_lstm"]) == ("cpu", None)


def test_implementations_before_an_interruption_are_recorded(mini, tmp_path, monkeypatch, interrupt_after):
    pytest.importorskip("numba")
    monkeypatch.setenv(VARIABLE, "reference")
    with interrupt_after(2), pytest.raises(KeyboardInterrupt):
        experiment.run(configured(mini), mini, tmp_path)
    monkeypatch.delenv(VARIABLE)
    folder = experiment.run(configured(mini), mini, tmp_path)
    assert json.loads((folder / "result.json").read_text())["diagonal_lstm"] == "cpu, reference"


def test_unavailable_implementation_is_an_error_of_one_line(mini, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UsageProblemError, match="'triton' takes fp32 and bf16 on CUDA") as e:
        experiment.run(configured(mini), mini, tmp_path)
    assert isinstance(e.value.__cause__, ImplementationError)
    said = json.loads((tmp_path / configured(mini).run_id / "result.json").read_text())
    assert (said["status"], said["reason"]) == ("failed", str(e.value))


def test_checks_on_the_cpu_ignore_the_implementation_requested_for_a_gpu(monkeypatch):
    monkeypatch.setenv(VARIABLE, "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    require_buildable("none,none,none,arnn:hidden=4", VARIANTS["mini"])
    assert os.environ[VARIABLE] == "triton"


def test_board_notes_rows_that_used_a_slower_implementation():
    h100 = "NVIDIA H100 80GB HBM3"
    board = build_board(
        [
            result("arnn", device=h100, diagonal_lstm="packed, triton"),
            result("arnn-ind", device=h100, diagonal_lstm="triton"),
            result("brnn2", diagonal_lstm="cpu"),
            result("brnn3", diagonal_lstm="cpu"),
            result("brnn3", seed=1, diagonal_lstm="reference"),
            result("unet2-arnn"),
            result("san", diagonal_lstm=None),
        ]
    )
    told = dict(zip(board["attn"], board["diagonal_lstm"].fillna(""), strict=True))
    expected = {"arnn": "packed, triton", "arnn-ind": "triton", "brnn2": "cpu", "brnn3": "cpu; reference"}
    assert told == {**expected, "unet2-arnn": "", "san": ""}
    notes = [line for line in to_text(board).splitlines() if "diagonal LSTM" in line]
    assert len(notes) == 2
    assert any(n.startswith("arnn on ") and "ran as packed, not only as triton" in n for n in notes)
    assert any(n.startswith("brnn3 on ") and "ran as reference, not only as cpu" in n for n in notes)
    assert to_text(from_csv(to_csv(board))) == to_text(board)


@pytest.mark.parametrize(("value", "good"), [("cpu", True), (None, True), (3, False), (["cpu"], False)])
def test_implementation_of_a_result_must_be_text(value, good):
    assert check_result(result(diagonal_lstm=value)) == ([] if good else ["diagonal_lstm"])


def test_board_without_the_implementation_column_is_valid_only_for_old_records(runs, tmp_path):
    for name, forgets in (("old", True), ("new", False)):
        folder = tmp_path / name
        snapshot.save_snapshot(runs, folder)
        for path in (folder / "runs").glob("*/result.json"):
            content = json.loads(path.read_text())
            if forgets:
                content.pop("diagonal_lstm")
            path.write_text(json.dumps(content))
        board = from_csv((folder / "board.csv").read_text()).drop(columns="diagonal_lstm")
        (folder / "board.csv").write_text(to_csv(board))
    assert snapshot.check_snapshot(tmp_path / "old") == [str(tmp_path / "old")]
    with pytest.raises(Exception, match="only one of them has diagonal_lstm"):
        snapshot.check_snapshot(tmp_path / "new")
    shutil.rmtree(tmp_path / "new")


@pytest.mark.parametrize(
    ("asked", "device", "attn", "questions", "processes", "expected", "why"),
    [
        ("auto", "cpu", "arnn", 2, False, "eager", ""),
        ("auto", "cuda", "arnn", 2, False, "graph", ""),
        ("auto", "cuda", "san", "one", False, "graph", ""),
        ("auto", "cuda", "san", "all", False, "eager", "use --questions 2 or one"),
        ("auto", "cuda", "san", 2, True, "eager", "several processes"),
        ("auto", "cuda", f"none,{EXAMPLE}:Compare", 2, False, "eager", "--capture graph to try"),
        ("graph", "cuda", f"none,{EXAMPLE}:Compare", 2, False, "graph", ""),
        ("eager", "cuda", "arnn", 2, False, "eager", ""),
    ],
)
def test_capture_mode_follows_device_network_and_questions(asked, device, attn, questions, processes, expected, why):
    variant = VARIANTS["mini"]
    assert variant.digits[0] == 2
    recipe = replace(SHORT, questions=questions)
    capture, said = resolve_capture(asked, device, resolve_network(attn, 32), variant, recipe, processes)
    assert capture == expected
    assert why in said
    assert bool(said) == bool(why)


def test_run_id_on_a_cpu_does_not_depend_on_capture(mini):
    for capture in ("auto", "eager"):
        config = experiment.configure(
            mini, "san", 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU, capture=capture))
        )
        assert config.as_dict()["capture"] == "eager"
        assert config == configured(mini, "san")


def test_configuration_on_a_gpu_has_the_resolved_capture_mode(mini):
    how = ComputeConfig(CUDA, capture="auto")
    recipes = [replace(SHORT, questions=questions) for questions in (2, "all")]
    found = [
        experiment.configure(mini, "san", 0, experiment.RunSettings(recipe, "one", how)).capture for recipe in recipes
    ]
    assert found == ["graph", "eager"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("cpu", 32, 100, 32, None), [32]),
        (("cpu", 500, 100, 32, 10**12), [200]),
        (("cuda", 50, 100, 32, 80 * 10**9), [1000, 500, 250, 50]),
        (("cuda", 50, 224, 32, 80 * 10**9), [500, 250, 50]),
        (("cuda", 50, 100, 1024, 80 * 10**9), [50]),
        (("cuda", 50, 100, 32, 3 * 10**9), [50]),
        (("cuda", 500, 100, 32, 80 * 10**9), [1000, 500, 250, 200]),
        (("cuda", 50, 100, 1024, None), [50]),  # 32 bits count no more than 209
        (("cuda", 50, 100, 32, 80 * 10**9, True), [50]),
    ],
)
def test_batch_sizes_of_evaluation_fit_into_memory(given, expected):
    assert sizes(*given) == expected


def test_batch_size_that_does_not_fit_is_not_tried_again():
    tried, left = [], [1000, 500, 50]

    def work(size):
        tried.append(size)
        if size > 50:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    assert [in_memory(left, work), in_memory(left, work)] == [50, 50]
    assert (tried, left) == ([1000, 500, 50, 50], [50])
    with pytest.raises(MemoryError):
        in_memory(left, lambda size: (_ for _ in ()).throw(MemoryError))
    several = [2, 1]
    with pytest.raises(ZeroDivisionError):
        in_memory(several, lambda size: 1 // 0)
    assert several == [2, 1]


@pytest.mark.parametrize("attn", ["pan", LAST])
def test_answers_do_not_depend_on_the_batch_size(attn, mini):
    torch.manual_seed(0)
    model = create_model(attn, "mini").to(memory_format=torch.channels_last)
    split = load_split(mini, "test", "one", CPU, masks=True)
    few, many = measure(model, split, 7), measure(model, split, 1000)
    assert torch.equal(few.answers["answer"], many.answers["answer"])
    for name, value in few.measures.items():
        if isinstance(value, float):
            assert many.measures[name] == pytest.approx(value, rel=1e-5), name
    assert accuracy(model, split, 7) == accuracy(model, split, 1000)


def test_sampled_networks_are_recognised():
    assert [draws(create_model(name, "mini")) for name in ("arnn-sampled", "arnn", "pan")] == [True, False, False]


@pytest.mark.parametrize(
    ("computing", "tuned", "expected"),
    [
        (ComputeConfig(CUDA), True, True),
        (ComputeConfig(CUDA), False, False),
        (ComputeConfig(CUDA, deterministic=True), True, False),
        (ComputeConfig(CPU), True, False),
    ],
)
def test_cudnn_benchmark_is_on_for_fixed_shapes(computing, tuned, expected, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cudnn.benchmark
    with computing.backend_flags(tuned):
        assert torch.backends.cudnn.benchmark == expected
        with computing.backend_flags(tuned=not tuned):
            pass
        assert torch.backends.cudnn.benchmark == expected
    assert torch.backends.cudnn.benchmark == before


def test_nondeterministic_operation_is_named():
    said = "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you set 'torch.use_det…"
    expected = "--deterministic: PyTorch's grid_sampler_2d_backward_cuda is not deterministic on CUDA; omit the option"
    assert explain_nondeterminism(RuntimeError(said)).startswith(expected)
    assert explain_nondeterminism(RuntimeError("out of memory")) is None


def test_precision_recall_curve_of_many_pixels_is_exact():
    """Sums of counts beyond what single precision holds."""
    counts = torch.zeros(2, BINS, dtype=torch.long)
    counts[0, 5], counts[0, 9], counts[1, 9] = 2**40, 1, 3
    _, precision, area = curve_of(counts)
    assert (float(precision[0]), float(precision[-1])) == (0.25, (2**40 + 1) / (2**40 + 4))
    assert area == pytest.approx((0.25 + 2**40 * (2**40 + 1) / (2**40 + 4)) / (2**40 + 1), rel=1e-14)


def test_commit_without_git_is_the_value_of_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv(COMMIT_VARIABLE, raising=False)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert get_commit() is None
    for said, expected in (
        ("A" * 40, "a" * 12),
        ("0123456", "0123456"),
        ("0123456789abcdef-dirty", "0123456789ab-dirty"),
    ):
        monkeypatch.setenv(COMMIT_VARIABLE, said)
        assert get_commit() == expected
    for wrong in ("main", "123456", "0123456-dirty-dirty", "0123456\nx"):
        monkeypatch.setenv(COMMIT_VARIABLE, wrong)
        with pytest.raises(UsageProblemError, match=r"^BENCH_COMMIT=.*: use a commit, 7 to 64 digits"):
            get_commit()


def test_invalid_commit_is_refused_before_training(mini, tmp_path, monkeypatch):
    monkeypatch.setenv(COMMIT_VARIABLE, "main")
    with pytest.raises(UsageProblemError, match="BENCH_COMMIT='main'"):
        experiment.run(configured(mini), mini, tmp_path)
    assert not list(tmp_path.iterdir())
