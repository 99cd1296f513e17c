"""The tutorial notebook runs, and its stored outputs come from one complete run."""

import json
import os
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
NOTEBOOK = TOP / "docs" / "tutorial.ipynb"
SIZES = "TRAIN, VAL, TEST = 8000, 1000, 2000"


def code_cells() -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_tutorial_cells_run_in_order(tmp_path, monkeypatch):
    """The cells run unchanged, except for a smaller data set."""
    pytest.importorskip("matplotlib").use("Agg")
    code = ["".join(cell["source"]) for cell in code_cells()]
    assert sum(SIZES in text for text in code) == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    names: dict = {"__name__": "tutorial"}
    for number, text in enumerate(code):
        exec(compile(text.replace(SIZES, "TRAIN, VAL, TEST = 160, 40, 60"), f"cell {number}", "exec"), names)
    assert names["evaluation"].measures["n_test"] == 60


def test_tutorial_outputs_are_stored():
    """Every cell was executed once, in order and without an error, and no output contains a local path."""
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    text = json.dumps(outputs)
    assert not [place for place in ("/tmp", "/home", "/root", "/work", "/Users") if place in text]


def test_tutorial_notebook_is_small():
    assert NOTEBOOK.stat().st_size < 500_000
