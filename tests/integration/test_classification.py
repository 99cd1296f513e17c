"""Images with a label and no question: `mone`, and a folder of photos, through every command that knows runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import cli
from bench import attack
from bench.evaluation.columns import ERROR, OVER_NONE, TOP5
from bench.leaderboard.aggregate import build_board
from bench.runs import records
from bench.runs.loaded_run import load_run
from bench.runs.reproduce import resolve_config_file
from mnistref.dataset import MnistRef
from tests.bench.tasks.conftest import write_photos
from tests.commands import call

TRAINING = ["--epochs", 1, "--batch", 16, "--width", 4, "--device", "cpu"]


@pytest.fixture(scope="module")
def mone(make):
    sizes = {"train": 48, "val": 16, "test": 24}
    return make("mone", sizes=sizes, canvas=32, scales=(0.5, 1.0), distractors=5)


@pytest.fixture(scope="module")
def runs(mone, tmp_path_factory):
    """Return a folder with runs of three networks on mone, made by `bench sweep` and `bench run`."""
    folder = tmp_path_factory.mktemp("runs")
    data = ["--data", mone, *TRAINING, "--runs", folder]
    call(cli.bench, "run", "--attn", "san", *data, "--queries", "all")
    for attn in ("none", "cbam"):
        call(cli.bench, "run", "--attn", attn, *data)
    return folder


@pytest.fixture(scope="module")
def photo_runs(tmp_path_factory):
    """Return the root of two runs on a folder of photos."""
    root = tmp_path_factory.mktemp("root")
    photos = write_photos(root / "Places 3")
    for attn in ("none", "cbam"):
        task = ["--task", f"folder:{photos}", "--canvas", 32, "--root", root]
        done = call(cli.bench, "run", "--attn", attn, *task, *TRAINING, "--recipe", "cbam-cifar")
        assert "most frequent class: 33.3 %" in done.stderr
        assert "attention on" not in done.stderr  # there are no masks
    return root


def find(runs, attn):
    return next(run for run in runs.glob(f"*-{attn}-s0-*"))


def test_items_of_mone_have_the_class_as_label_and_the_ink_of_the_digit(mone):
    dataset = MnistRef(mone, "test", "all")
    assert len(dataset) == 24
    sample = dataset[3]
    assert (sample["query"], dataset.classes[sample["label"]]) == (0, str(sample["label"]))
    y0, x0, y1, x1 = sample["box"].tolist()
    outside = sample["mask"].clone()
    outside[y0:y1, x0:x1] = False
    assert sample["mask"].any()
    assert not outside.any()


def test_records_of_mone_have_top_5_and_the_measures_of_maps(runs):
    san, none = (records.read_result(find(runs, attn)) for attn in ("san", "none"))
    assert (san["n_test"], none["mask_correctness"]) == (24, None)
    assert 0 < san["mask_correctness"] < 1
    assert san["accuracy"] <= san["top5"] <= 1
    assert san["step_over_none"] > 0
    assert none["step_over_none"] == pytest.approx(1)
    answers = records.read_answers(find(runs, "san"))
    assert answers["right5"].mean() == pytest.approx(san["top5"])


def test_boards_show_top_1_error_top_5_and_the_ratio_to_no_attention(runs):
    board = build_board(records.read_results(runs))
    assert (board[ERROR] == 1 - board["accuracy"]).all()
    assert (board["error_lo"] == 1 - board["accuracy_hi"]).all()
    assert (board["top5_lo"] <= board[TOP5]).all()
    assert board[OVER_NONE].notna().all()
    text = call(cli.bench, "leaderboard", "--runs", runs).stdout
    assert all(heading in text for heading in ("top-5 %", "error %", "× none"))


def test_networks_without_questions_are_compared_with_none_if_there_is_no_san(runs):
    board = build_board([found for found in records.read_results(runs) if found["attn"] != "san"])
    assert board["baseline"].tolist() == ["none", "none"]
    assert board.set_index("attn")["difference"].notna().to_dict() == {"cbam": True, "none": False}


def test_a_run_on_mone_ends_with_the_most_frequent_class(runs, mone):
    done = call(cli.bench, "run", "--attn", "cbam", "--data", mone, *TRAINING, "--runs", runs)
    labels = np.bincount(MnistRef(mone, "test").triples.label)
    assert f"most frequent digit: {100 * labels.max() / 24:.1f} %" in done.stderr
    assert "24 test images" in done.stderr
    assert "attention on the digit" in done.stderr
    assert "question" not in done.stderr


def test_attacks_and_maps_of_mone_have_the_regions_of_one_digit(runs, mone):
    run = find(runs, "cbam")
    options = ["--data", mone, "--images", 6, "--batch", 6, "--device", "cpu"]
    rows = json.loads(call(cli.bench, "attack", run, *options, "--eps", 4, "--json").stdout)
    assert {row["region"] for row in rows} == {"all", "target", "background"}
    error = call(cli.bench, "attack", run, *options, "--where", "others", code=2).stderr
    assert "no region 'others': known: all, target, background" in error
    maps = ["--map", "attention,uniform"]
    assert "uniform" in call(cli.bench, "saliency", run, *options, *maps).stdout


def test_a_question_that_is_not_asked_cannot_be_swapped(runs, mone):
    done = call(cli.bench, "swap", find(runs, "san"), "--data", mone, code=2)
    assert done.stderr.strip().endswith("mone has no questions, so there is none to swap")


def test_pictures_and_the_report_show_labels_without_questions(runs, mone, tmp_path):
    page = tmp_path / "report.html"
    call(cli.bench, "show", find(runs, "cbam"), "--data", mone, "-o", tmp_path / "maps.svg")
    call(cli.bench, "report", "--runs", runs, "-o", page)
    assert "which digit is it?" in page.read_text(encoding="utf-8")


def test_a_folder_of_photos_is_trained_tested_and_shown(photo_runs, tmp_path):
    runs = photo_runs / "runs"
    run = find(runs, "cbam")
    result = records.read_result(run)
    assert (result["variant"], result["n_test"], result["mask_correctness"]) == ("folder-places-3", 6, None)
    assert "top5" not in result  # of three classes
    assert result["recipe"] == "cbam-cifar,batch=16,epochs=1,width=4"
    table = load_run(run, root=photo_runs).answers
    assert list(table["label"]) == [0, 0, 1, 1, 2, 2]
    assert (table["correct"] == (table["prediction"] == table["label"])).all()
    call(cli.bench, "show", run, "--root", photo_runs, "-o", tmp_path / "maps.svg")
    page = tmp_path / "report.html"
    call(cli.bench, "report", "--runs", runs, "-o", page)
    assert "which class is it?" in page.read_text(encoding="utf-8")
    done = call(cli.bench, "saliency", run, "--root", photo_runs, code=2)
    assert "its images have no masks, by which maps and attacks are measured" in done.stderr
    board = call(cli.bench, "leaderboard", "--runs", runs, "--variant", "folder-places-3").stdout
    assert "error %" in board
    command = call(cli.bench, "leaderboard", "--runs", runs, "--commands").stdout
    assert "bench run --attn cbam --width 4 --task folder:DIR --canvas 32" in command


def test_all_pixels_of_a_folder_of_photos_are_attacked(photo_runs, tmp_path):
    """The command, Python, the stored board and its check, and the report need no masks."""
    data = next((photo_runs / "datasets").iterdir())
    runs = tmp_path / "runs"
    train = ["--attn", "none", "--network", "resnet18", "--data", data, *TRAINING, "--no-timing", "--runs", runs]
    run = Path(call(cli.bench, "run", *train).stdout.strip())
    options = ["--data", data, "--device", "cpu", "--method", "fgsm", "--eps", "1,64"]
    rows = json.loads(call(cli.bench, "attack", run, *options, "--plot", tmp_path / "fooling.svg", "--json").stdout)
    assert [(row["region"], row["norm"], row["images"], row["area"]) for row in rows] == [
        ("all", 1, 6, 1),
        ("all", 64, 6, 1),
    ]
    assert rows[0]["accuracy_before"] == pytest.approx(records.read_result(run)["accuracy"])
    found = attack(load_run(run, root=photo_runs).model, data, methods="fgsm", eps=[1, 64], device="cpu")
    assert found["fooling_rate"].tolist() == [row["fooling_rate"] for row in rows]
    refused = "its images have no masks, by which maps and attacks are measured"
    assert refused in call(cli.bench, "attack", run, *options, "--where", "all,target", code=2).stderr
    with pytest.raises(ValueError, match=refused):
        attack(load_run(run, root=photo_runs).model, data, regions="background")
    call(cli.bench, "leaderboard", "--runs", runs, "--save", tmp_path / "board")
    assert "| fgsm | 64 |" in (tmp_path / "board" / "attacks.md").read_text(encoding="utf-8")
    call(cli.bench, "leaderboard", "--check", tmp_path / "board")
    call(cli.bench, "report", "--runs", runs, "-o", tmp_path / "report.html")
    assert "answers that change" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_on_a_task_is_repeated_from_its_configuration(photo_runs, monkeypatch):
    file = find(photo_runs / "runs", "cbam") / "config.json"
    resolved = resolve_config_file(file, photo_runs)
    assert resolved.data.name == resolved.config.dataset
    with pytest.raises(Exception, match="prepare it from its folder of images with `bench run --task folder:DIR`"):
        resolve_config_file(file, photo_runs / "elsewhere")


def test_an_interrupted_run_on_a_task_resumes_to_the_same_weights(photo_runs, interrupt_after):
    """Each epoch augments the images anew."""
    task = ["--data", next((photo_runs / "datasets").iterdir()), *TRAINING, "--epochs", 2, "--augment", "flip+crop"]
    command = [cli.bench, "run", "--attn", "se", "--network", "resnet18", *task, "--no-timing", "--runs"]
    whole = call(*command, photo_runs / "whole").stdout.strip()
    with interrupt_after(1):
        call(*command, photo_runs / "parts", code=130)
    resumed = call(*command, photo_runs / "parts")
    assert "resuming" in resumed.stderr
    weights = [(Path(run) / records.WEIGHTS).read_bytes() for run in (whole, resumed.stdout.strip())]
    assert weights[0] == weights[1]


def test_a_sweep_over_tasks_prepares_them(photo_runs, tmp_path):
    data = ["--task", f"folder:{photo_runs / 'Places 3'}", "--canvas", 32, "--root", photo_runs]
    done = call(cli.bench, "sweep", "--attn", "none,cbam", "--seeds", 1, *data, *TRAINING, "--recipe", "cbam-cifar")
    assert "already finished" in done.stderr


def test_sources_of_data_exclude_each_other(mone):
    for options, message in (
        (["--task", "cifar10", "--variant", "mini"], "give --task or --variant, not both"),
        (["--task", "cifar10", "--data", mone], "give --data or --task, not both"),
        (
            ["--task", "cifar10", "--digits", "mnist5k"],
            "give --task or --digits, not both: its images",
        ),
        (["--data", mone, "--backgrounds", "photos"], "give --data or --backgrounds, not both"),
        (["--task", "cifar10", "--train", 10], "give --task or --train, not both: a task has its own size"),
        (["--variant", "mini", "--canvas", 32], "--canvas is for --task"),
    ):
        assert message in call(cli.bench, "run", "--attn", "none", *options, code=2).stderr


def test_top_5_is_that_of_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics")
    from bench.evaluation.unchecked_metrics import right_among

    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(200, 20, generator=generator), torch.randint(20, (200,), generator=generator)
    expected = torchmetrics.functional.classification.multiclass_accuracy(logits, label, 20, average="micro", top_k=5)
    assert right_among(logits, label, 5).double().mean() == pytest.approx(float(expected))


def test_backgrounds_of_a_task_without_masks_cannot_fade(photo_runs):
    data = next((photo_runs / "datasets").iterdir())
    error = call(cli.bench, "run", "--attn", "none", "--data", data, *TRAINING, "--fade", 0.5, code=2).stderr
    assert "--fade brightens everything except the object; folder-places-3 has no masks of objects" in error
