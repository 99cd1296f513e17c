"""State shared by all parts of a run."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.attention import NetworkSpec
from bench.compute import ComputeConfig
from bench.config import DEFAULT_DATA_OPTIONS, DataOptions, RunConfig
from bench.data.sets import DataSet
from bench.distributed.process_group import SINGLE_PROCESS, SingleProcess
from bench.training.progress import ProgressOptions


@dataclass(frozen=True)
class ExecutionOptions:
    """How a run is executed. None of it is part of a run's id.

    Attributes:
        resume: whether to resume an interrupted run at its last checkpoint, instead of starting it again.
        progress: how to report progress, and how often to write checkpoints.
        data: how the data are read.
        group: the processes of the run.
    """

    resume: bool = True
    progress: ProgressOptions = field(default_factory=ProgressOptions)
    data: DataOptions = DEFAULT_DATA_OPTIONS
    group: SingleProcess = SINGLE_PROCESS


@dataclass(frozen=True)
class RunContext:
    """The arguments of `bench.runs.experiment.run`, and the values derived from them.

    Attributes:
        config: configuration of the run.
        network: the network of the configuration.
        data: folder of the data set.
        folder: folder of the run.
        manifest: manifest of the data set.
        computing: device, precision and capture mode.
        init: folder of the run with the initial weights, or None.
        options: how the run is executed.
    """

    config: RunConfig
    network: NetworkSpec
    data: Path
    folder: Path
    manifest: DataSet
    computing: ComputeConfig
    init: Path | None
    options: ExecutionOptions
