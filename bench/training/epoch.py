"""The progress of an epoch, and the record of a complete one."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from torch import Tensor


class EpochRecord(TypedDict):
    """A line of history.jsonl.

    Attributes:
        epoch: number of the epoch, from 1.
        steps: number of steps since the start of the training.
        questions: number of training questions of the epoch, or of images without a question.
        lr: learning rate of the first step of the epoch.
        train_loss: mean loss of the steps.
        train_accuracy: accuracy of the training questions, during the steps.
        val_accuracy: accuracy of the validation questions, after the steps.
        seconds: time of the epoch, with its validation.
        device_seconds: time of the steps on all devices, see `device_clock`.
    """

    epoch: int
    steps: int
    questions: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_accuracy: float
    seconds: float
    device_seconds: float


class EpochState(TypedDict):
    """The numbers of an epoch that has begun, see `EpochProgress`. Early versions omit `device_seconds`."""

    steps: int
    lr: float
    seconds: float
    device_seconds: NotRequired[float]


@dataclass
class EpochProgress:
    """The progress of an epoch that has begun.

    Attributes:
        steps: number of complete steps.
        lr: learning rate of the first step.
        seconds: time of these steps.
        sums: f8 (4,), sums over the steps: the losses, the correct answers, the steps whose loss or gradient is not
            finite, and the questions.
        generator_states: states of the random generators, by device, if the epoch resumes from a checkpoint.
        device_seconds: time of these steps on one device, see `device_clock`.
    """

    steps: int
    lr: float
    seconds: float
    sums: Tensor
    generator_states: dict[str, Tensor] = field(default_factory=dict)
    device_seconds: float = 0.0

    def as_dict(self) -> EpochState:
        """Return the numbers that a checkpoint stores as JSON."""
        return {
            "steps": self.steps,
            "lr": self.lr,
            "seconds": self.seconds,
            "device_seconds": self.device_seconds,
        }


def device_clock(device_type: str) -> Callable[[], float]:
    """Return the clock of a device, in seconds: on a CPU the time of all its cores in this process, on a GPU the time.

    The time of the cores does not depend on other processes, and stands still while this process is paused.
    """
    return time.process_time if device_type == "cpu" else time.perf_counter
