"""The record of an epoch: the number of its questions, and the time of its steps on the device."""

import time

import pytest
import torch

from bench.config import Recipe
from bench.training import epoch
from mnistref.dataset import read_triples
from tests.bench.training.helpers import train_with_stops, trainer_for

ALL = Recipe("fast", "adam", 0.003, 16, 2, "onecycle", questions="all")
ONE = Recipe("fast", "adam", 0.003, 16, 2, "onecycle", questions="one")


class FakeClock:
    """A clock that advances by one second in each training step, and by 1,000 between two steps."""

    def __init__(self, trainer):
        self.now, step = 0.0, trainer.step

        def timed(*args):
            self.now += 1
            return step(*args)

        trainer.step = timed
        trainer.step.question_rows = None

    def between_steps(self) -> None:
        self.now += 1000

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("device", "clock"), [("cpu", time.process_time), ("cuda", time.perf_counter)])
def test_cpu_counts_the_time_of_its_cores_and_gpu_that_of_the_clock(device, clock):
    assert epoch.device_clock(device) is clock


def test_time_of_the_device_is_that_of_the_steps_only(mini, monkeypatch):
    trainer = trainer_for(mini, ONE, "none")
    clock = FakeClock(trainer)
    monkeypatch.setattr("bench.training.trainer.device_clock", lambda device_type: clock)
    records = list(trainer.epochs(clock.between_steps))
    assert [record["device_seconds"] for record in records] == [trainer.steps_per_epoch] * 2


def test_resumed_epoch_continues_its_time(mini, tmp_path, monkeypatch):
    made = []

    def build():
        made.append(trainer_for(mini, ONE, "none"))
        clock = FakeClock(made[-1])
        monkeypatch.setattr("bench.training.trainer.device_clock", lambda device_type: clock)
        return made[-1]

    seen = []
    write = epoch.EpochProgress.as_dict
    monkeypatch.setattr(epoch.EpochProgress, "as_dict", lambda own: seen.append(write(own)) or write(own))
    train_with_stops(build, (1, 5), tmp_path)
    assert [(state["steps"], state["device_seconds"]) for state in seen] == [(1, 1.0), (5, 5.0)]


def test_questions_of_an_epoch_are_counted(mini):
    questions = len(read_triples(mini, "train", "all").image)
    trainer = trainer_for(mini, ALL, "none")
    images = trainer.steps_per_epoch * 16
    assert images == trainer.train.image_count  # no image is left out
    assert [record["questions"] for record in trainer.epochs()] == [questions, questions]
    assert [record["questions"] for record in trainer_for(mini, ONE, "none").epochs()] == [images, images]


def test_progress_of_an_epoch_is_stored_without_tensors():
    progress = epoch.EpochProgress(3, 0.1, 2.5, sums=torch.zeros(4), device_seconds=2.4)
    assert progress.as_dict() == {"steps": 3, "lr": 0.1, "seconds": 2.5, "device_seconds": 2.4}
