"""State shared by all parts of a run."""

from dataclasses import dataclass
from pathlib import Path

from bench.attention import NetworkSpec
from bench.compute import ComputeConfig
from bench.config import DataOptions, RunConfig
from bench.distributed.process_group import SingleProcess
from bench.training.progress import ProgressOptions
from mnistref.dataset import Manifest


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
        resume: whether to resume an interrupted run.
        init: folder of the run with the initial weights, or None.
        progress_options: how to report progress, and how often to write checkpoints.
        data_options: how the data are read.
        group: the processes of the run.
    """

    config: RunConfig
    network: NetworkSpec
    data: Path
    folder: Path
    manifest: Manifest
    computing: ComputeConfig
    resume: bool
    init: Path | None
    progress_options: ProgressOptions
    data_options: DataOptions
    group: SingleProcess
