"""Finished networks loaded from the folders of runs, and damaged files."""

import json
import shutil
from pathlib import Path

import pytest

from bench.runs import records
from bench.runs.network_loading import load_model
from mnistref.common.errors import DataProblemError


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("config.json", lambda _: {}, "recipe is missing"),
        ("config.json", lambda config: config | {"seed": 7}, "its seed is not that of result.json"),
        ("config.json", lambda config: config | {"attn": "san"}, "its attn is not that of result.json"),
        ("environment.json", lambda _: [], "unexpected structure"),
    ],
)
def test_damaged_file_of_a_finished_run_is_named_with_advice(name, change, why, finished, tmp_path, caplog):
    _, folder, result = finished
    path = Path(shutil.copytree(folder, tmp_path / folder.name)) / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    (shown,) = records.read_results(tmp_path)
    assert (shown["accuracy"], shown.get("config")) == (
        result["accuracy"],
        None if "config" in name else shown["config"],
    )
    advice = "restore the file, or delete the run's folder and run it again"
    assert f"{path}: damaged ({why}); {advice}" in caplog.text
    if "that of" in why:
        with pytest.raises(DataProblemError, match=why):
            load_model(path.parent)
