"""How a run was made, according to its records."""

import json
import math
from pathlib import Path

import pytest

from bench.leaderboard.aggregate import build_board
from bench.runs import provenance, records
from mnistref.common.errors import DataProblemError
from tests.bench.leaderboard.helpers import result


@pytest.mark.parametrize(
    ("environment", "hardware"),
    [
        ({"device": "cpu", "threads": 2}, "cpu, 2 threads"),
        ({"device": "cpu", "processor": "AMD", "threads": 1, "processes": 2}, "AMD, 2 processes of 1 thread"),
        ({"device": "cpu", "processor": math.nan, "threads": math.nan}, "cpu"),
        ({"device": "cpu", "processor": [1], "threads": True, "processes": "x"}, "cpu"),
        ({"device": "NVIDIA H100"}, "NVIDIA H100"),
        ({"device": 5}, "cpu"),  # the result's own
    ],
)
def test_hardware_name_uses_the_known_fields(environment, hardware, tmp_path):
    run = tmp_path / "runs" / "run"
    run.mkdir(parents=True)
    (run / records.RESULT).write_text(json.dumps(result()))
    (run / records.ENVIRONMENT).write_text(json.dumps(environment))
    assert build_board(records.read_results(run.parent))["hardware"].tolist() == [hardware]


REQUEST = {
    "variant": "mini",
    "seed": 0,
    "sizes": {"train": 9},
    "digits": "mnist5k",
    "backgrounds": None,
    "pool": "disjoint",
}


def test_configuration_and_help_for_reproduction_are_split():
    content = {"attn": "pan", "seed": 1, provenance.DATA_FOLDER: "/data", provenance.INIT_RUN: None}
    config, info = provenance.split_config(content)
    assert config == {"attn": "pan", "seed": 1}
    assert info == {provenance.DATA_FOLDER: "/data", provenance.INIT_RUN: None}
    with pytest.raises(TypeError, match="list instead of a configuration"):
        provenance.split_config([])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("seed"), "seed is missing"),
        (ValueError("lr is nan"), "lr is nan"),
        (TypeError("internal"), "unexpected structure"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_the_error_for_a_damaged_record_names_the_file_and_the_reason(error, reason):
    told = str(provenance.build_damage_error(Path("runs/a/config.json"), error))
    assert told.startswith("runs/a/config.json: damaged (")
    assert reason in told
    kept = DataProblemError("as it is")
    assert provenance.build_damage_error(Path("x"), kept) is kept


def test_provenance_of_a_finished_run_is_that_of_its_configuration_and_result(finished, mini):
    config, run, found = finished
    facts = provenance.read_reproduction(run)
    assert (facts["config"], facts["init_run"]) == (config, None)
    assert facts["request"]["variant"] == "mini"
    assert provenance.read_data_folder(run) == mini
    assert provenance.read_hardware(run)["hardware"].endswith(("thread", "threads"))
    unfinished = provenance.read_run_without_result(run, "unfinished")
    assert unfinished["status"] == "unfinished"
    for name in ("attn", "variant", "seed", "recipe", "queries", "device", "precision", "bench_version"):
        assert unfinished[name] == found[name]
    assert unfinished["dataset"]["spec_id"] == found["dataset"]["spec_id"]


def test_a_folder_without_records_has_no_provenance(tmp_path):
    assert provenance.read_reproduction(tmp_path) == {}
    assert provenance.read_hardware(tmp_path) == {}


@pytest.mark.parametrize(
    "change",
    [{"sizes": {"train": -1}}, {"sizes": [9]}, {"digits": 3}, {"seed": "0"}, {"variant": None}, {"pool": 1}],
    ids=str,
)
def test_a_recorded_request_of_another_form_is_damage(change, finished, tmp_path):
    content = json.loads((finished[1] / provenance.CONFIG).read_text())
    for request in (REQUEST, {**REQUEST, **change}):
        (tmp_path / provenance.CONFIG).write_text(json.dumps({**content, provenance.DATA_REQUEST: request}))
        if request is REQUEST:
            assert provenance.read_reproduction(tmp_path)["request"] == REQUEST
        else:
            with pytest.raises(ValueError, match="the request of the data set"):
                provenance.read_reproduction(tmp_path)
