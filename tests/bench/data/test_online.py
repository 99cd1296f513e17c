"""Training on fresh images: the images of each epoch, resuming, and the separation of such runs on boards."""

import json
import threading
import weakref
from dataclasses import replace
from time import sleep

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import cli
from bench.common import memory
from bench.compute import ComputeConfig
from bench.config import DEFAULT_DATA_OPTIONS, DataOptions, Recipe, RunConfig, training_stages
from bench.data.loading import load_split
from bench.data.online import OnlineImages, OnlineQuestions, load_training
from bench.leaderboard.aggregate import build_board
from bench.model import build
from bench.runs import experiment, records, sweep, sweep_workers
from bench.runs.configure import RunSettings
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_manifest, read_split
from mnistref.generation.online import OnlineGenerator, open_online_generator
from tests.helpers import networks

CPU = torch.device("cpu")
COMPUTING = ComputeConfig(CPU)
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=3, schedule="onecycle")


def configured(folder, queries="one", recipe=SHORT, online=True) -> RunConfig:
    return experiment.configure(folder, "none", 0, experiment.RunSettings(recipe, queries, COMPUTING, online=online))


def drawing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture
def opened():
    """Return opened(folder, …), which returns the training data. They are closed and all threads end after the test."""
    there = []

    def opened(folder, queries="one", stream=None, recipe=SHORT) -> OnlineImages:
        there.append(load_training(configured(folder, queries, recipe), folder, CPU, DataOptions(stream)))
        return there[-1]

    yield opened
    for online in there:
        online.close()
    assert not drawing()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("queries", ["one", "all", "author"])
def test_epoch_0_is_the_data_set_and_epoch_1_continues_the_stream(queries, stream, mini, make, opened):
    online, own = opened(mini, queries, stream), load_split(mini, "train", queries, CPU)
    assert len(online) == len(own)
    larger = read_split(make("mini", sizes={"train": 1200, "val": 100, "test": 120}), "train", "image")["image"]
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(1))
    epochs = [list(online.split_for_epoch(e).iter_batches(order, 99)) for e in (0, 1, 2)]
    for a, b in zip(epochs[0], own.iter_batches(order, 99), strict=True):
        for x, y in zip(vars(a).values(), vars(b).values(), strict=True):
            assert (x is None and y is None) or torch.equal(x, y)
    if queries == "one":
        for e in (1, 2):
            shown = torch.cat([batch.images for batch in epochs[e]])
            expected = torch.from_numpy(larger[400 * e + order.numpy()]).permute(0, 3, 1, 2).float() / 255
            assert torch.equal(shown, expected)


def test_online_epoch_does_not_depend_on_when_it_is_drawn(mini, opened):
    straight, jumping = opened(mini, "all"), opened(mini, "all")
    pixels = [straight.split_for_epoch(e).images.sum(dim=(1, 2, 3)) for e in (0, 1, 2)]
    for e in (2, 0, 1, 1):
        split = jumping.split_for_epoch(e)
        assert torch.equal(split.images.sum(dim=(1, 2, 3)), pixels[e])
        assert len(split) == len(straight)
        assert int(split.image.max()) < 400
    assert not torch.equal(pixels[0], pixels[1])


def test_online_masks_are_loaded_if_backgrounds_fade(make, opened):
    folder = make("mdist")
    split = opened(folder, recipe=replace(SHORT, fade=0.5)).split_for_epoch(0)
    own = load_split(folder, "train", "one", CPU, masks=True)
    at = torch.arange(60)
    assert torch.equal(split.batch(at, 0.5).images, own.batch(at, 0.5).images)
    assert torch.equal(split.masks(at), own.masks(at))


def test_at_most_two_online_epochs_are_in_memory(mini, monkeypatch, opened):
    alive: set[int] = set()
    there, draw = [], OnlineGenerator.draw

    def counted(self, first, images, *names, **how):
        alive.add(first)
        there.append(len(alive))
        arrays = draw(self, first, images, *names, **how)
        weakref.finalize(arrays["image"], alive.discard, first)
        return arrays

    monkeypatch.setattr(OnlineGenerator, "draw", counted)
    online = opened(mini, recipe=replace(SHORT, epochs=6))
    for e in range(6):
        split = online.split_for_epoch(e)
        while len(there) < min(e + 2, 6):  # the next epoch is drawn during this one
            sleep(0.001)
        split.batch(torch.arange(9))
        del split
    assert there == [1, 2, 2, 2, 2, 2]


def test_online_epochs_larger_than_memory_are_refused(mini, monkeypatch):
    monkeypatch.setattr(memory, "_free_in_container", lambda: None)
    need = 2 * 400 * 48 * 48 * 3
    monkeypatch.setattr(memory, "_free_on_host", lambda: need + 1e9 - 1)
    with pytest.raises(UsageProblemError, match="two epochs of 400 images"):
        load_training(configured(mini), mini, CPU, DEFAULT_DATA_OPTIONS)
    monkeypatch.setattr(memory, "_free_on_host", lambda: need + 1e9)
    load_training(configured(mini), mini, CPU, DEFAULT_DATA_OPTIONS).close()


def trainer_on(online: OnlineImages, mini) -> Trainer:
    model = build("none", read_manifest(mini).variant, 0, CPU)
    return Trainer(SHORT, model, TrainingSplits(online, load_split(mini, "val", "one", CPU)), 0, COMPUTING)


def test_online_training_resumes_with_the_images_of_its_epoch(mini, opened):
    whole, first, second = (trainer_on(opened(mini), mini) for _ in range(3))
    records = [{**record, "seconds": 0, "device_seconds": 0} for record in whole.epochs()]
    epochs = first.epochs()
    next(epochs)
    next(epochs)
    second.restore(*first.state())
    assert [{**record, "seconds": 0, "device_seconds": 0} for record in second.epochs()] == records[2:]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    fixed = trainer_on(load_split(mini, "train", "one", CPU), mini)
    others = [{**record, "seconds": 0, "device_seconds": 0} for record in fixed.epochs()]
    assert others[0] == records[0]
    assert others[1] != records[1]


def test_interrupted_online_training_ends_the_drawing_thread(mini, tmp_path, monkeypatch):
    def interrupt(run, record):
        assert drawing()
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "append_history", interrupt)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(configured(mini), mini, tmp_path)
    assert not drawing()


def test_online_runs_have_different_names(mini):
    online, fixed = configured(mini), configured(mini, online=False)
    assert online.run_id != fixed.run_id
    assert "online" not in fixed.as_dict()  # runs of earlier versions keep their names
    assert RunConfig.from_dict(online.as_dict()) == online
    assert RunConfig.from_dict(fixed.as_dict()) == fixed
    assert (online.training, fixed.training) == ("fast,epochs=3,online", "fast,epochs=3")
    longer = replace(online, init="mref-a,pan,init=(mini-b,fast)").training
    assert longer == "fast,epochs=3,online,init=(mref-a,pan,init=(mini-b,fast))"
    assert training_stages(longer) == ["fast,epochs=3,online", "mref-a,pan", "mini-b,fast"]
    assert training_stages(fixed.training) == ["fast,epochs=3"]


def test_sweep_passes_data_options_to_its_runs(mini, tmp_path):
    data_options = DataOptions(True, str(tmp_path))
    (task,) = sweep.SweepPlan(
        networks("none"),
        [mini],
        1,
        RunSettings(replace(SHORT, epochs=1), "one", COMPUTING, online=True),
        data_options=data_options,
    ).build_tasks()
    with sweep_workers.local_workers("cpu", threads=1) as launcher:
        ended = sweep.sweep([task], tmp_path / "runs", launcher)
    assert [e.status for e in ended.values()] == ["ok"]
    assert json.loads((tmp_path / "runs" / task.config.run_id / "result.json").read_text())["recipe"].endswith("online")


def test_run_command_trains_online_and_the_board_has_a_separate_row(mini, tmp_path):
    common = ["run", "--attn=none", f"--data={mini}", "--preset=quick", "--epochs=1", f"--runs={tmp_path}"]
    found = {}
    for options in (("--stream",), ("--resident",), ("--online",), ("--online", "--stream")):
        done = CliRunner().invoke(cli.bench, [*common, *options])
        assert done.exit_code == 0, done.output
        found[options] = done.stdout.split()[-1]
    assert found["--stream",] == found["--resident",]  # already finished
    assert found["--online",] == found["--online", "--stream"] != found["--stream",]
    board = build_board(records.read_results(tmp_path))
    label = "fast,batch=16,epochs=1,questions=all"
    assert sorted(board["recipe"]) == [label, f"{label},online"]
    assert list(board["rank"]) == [1, 1]  # rows of different data have no common rank


def test_online_questions_are_spread_evenly_over_images(mini):
    fresh = open_online_generator(mini, mini.parent.parent / "raw")
    for questions in (390, 410):
        online = OnlineImages(fresh, OnlineQuestions(questions, "one"), CPU, 1)
        split = online.split_for_epoch(0)
        online.close()
        np.testing.assert_array_equal(split.image, np.arange(questions) % 400)
