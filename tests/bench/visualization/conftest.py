"""Runs whose pictures are drawn."""

from pathlib import Path

import pytest
import torch

from bench.attention import plugins
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.model import build
from bench.runs import experiment, records
from bench.training.checkpoints import save_weights
from mnistref.dataset import read_manifest

CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")
RESULT = {"status": "ok", "recipe": "fast", "device": "cpu", "bench_version": "0", "accuracy": 0.5}
RESULT |= {"n_test": 9, "params": 9, "train_step_ms": 1.0, "dataset": {"spec_id": "0" * 12}}


@pytest.fixture
def untrained_run(mini, tmp_path):
    """Return untrained_run(attn), which returns the folder of a run with untrained weights."""

    def untrained_run(attn: str, data: Path = mini) -> Path:
        config = experiment.configure(data, attn, 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU)))
        folder = tmp_path / config.run_id.replace("#", "-")
        content = config.as_dict()
        files = plugins.recorded_files(config.attn)
        records.write_json(folder / records.CONFIG, {**content, records.USER_FILES: files} if files else content)
        kept = {key: content[key] for key in ("attn", "variant", "seed", "queries", "precision")}
        records.write_json(folder / records.RESULT, {**kept, **RESULT})
        save_weights(folder / records.WEIGHTS, build(config.attn, read_manifest(data).variant, config.seed, CPU))
        return folder

    return untrained_run
