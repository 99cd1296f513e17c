"""Where the data set of a run is found, and whether it fits the network."""

import json
import shutil
from pathlib import Path

import pytest

from bench.runs import records
from bench.runs.data_folder import (
    find_data_folder,
    list_data_folders,
    read_fitting_manifest,
    resolve_data_folder,
    resolve_fitting_folder,
)
from bench.runs.network_loading import load_config
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import read_manifest
from mnistref.variants import VARIANTS


def test_folders_are_listed_in_the_order_of_the_roots(tmp_path):
    roots = [tmp_path / name for name in ("one", "two", "three")]
    folders = [root / "datasets" / "mini-0123" for root in roots]
    for folder in folders[1:]:
        folder.mkdir(parents=True)
    assert list_data_folders("mini-0123", roots) == folders[1:]
    assert list_data_folders("mini-0123", reversed(roots)) == folders[:0:-1]


@pytest.mark.parametrize("name", ["..", "../datasets", "", "a/b", ".hidden", "a\n"])
def test_data_set_names_that_leave_the_folder_find_nothing(name, tmp_path):
    (tmp_path / "datasets").mkdir()
    assert list_data_folders(name, [tmp_path]) == []


def test_the_root_of_a_run_comes_first_then_the_other_root_then_the_recorded_folder(tmp_path):
    run, dataset = tmp_path / "own" / "runs" / "run", "mini-0123"
    run.mkdir(parents=True)
    recorded = tmp_path / "elsewhere" / dataset
    (run / records.CONFIG).write_text(json.dumps({records.DATA_FOLDER: str(recorded)}))
    folders = [recorded, tmp_path / "other" / "datasets" / dataset, tmp_path / "own" / "datasets" / dataset]
    found = [find_data_folder(run, dataset, tmp_path / "other")]
    for folder in folders:
        folder.mkdir(parents=True)
        found.append(find_data_folder(run, dataset, tmp_path / "other"))
    assert found == [None, *folders]
    assert find_data_folder(run, "mini-4567", tmp_path / "other") is None


@pytest.fixture
def moved(finished, tmp_path) -> Path:
    """Return a run in a root without data sets. Its configuration does not name the folder of its data set."""
    run = tmp_path / "own" / "runs" / "run"
    run.mkdir(parents=True)
    content = json.loads((finished[1] / records.CONFIG).read_text())
    del content[records.DATA_FOLDER]
    (run / records.CONFIG).write_text(json.dumps(content))
    for name in (records.RESULT, records.WEIGHTS):
        shutil.copy(finished[1] / name, run)
    return run


def test_a_data_set_that_is_nowhere_is_an_error_that_says_how_to_make_it(moved, mini, tmp_path):
    config = load_config(moved)
    assert resolve_data_folder(moved, config, mini.parent.parent) == mini
    with pytest.raises(UsageProblemError, match="give its place with --data or --root; this command generates it: mni"):
        resolve_data_folder(moved, config, tmp_path)


def test_a_data_set_must_have_the_queries_and_classes_of_the_network(moved, mini, make, tmp_path):
    message = "5 queries and 10 classes, but this network, trained on mini, has 10"
    assert read_fitting_manifest(mini, VARIANTS["mini"]) == read_manifest(mini)
    assert resolve_fitting_folder(moved, None, mini.parent.parent) == mini
    assert resolve_fitting_folder(moved, mini, tmp_path) == mini
    with pytest.raises(UsageProblemError, match=message):
        read_fitting_manifest(make("miniinv"), VARIANTS["mini"])
    with pytest.raises(UsageProblemError, match=message):
        resolve_fitting_folder(moved, make("miniinv"), mini.parent.parent)


def test_missing_weights_are_named_before_a_missing_data_set(moved, tmp_path):
    (moved / records.WEIGHTS).unlink()
    with pytest.raises(DataProblemError, match="no weights here"):
        resolve_fitting_folder(moved, None, tmp_path)
    (moved / records.RESULT).unlink()
    with pytest.raises(DataProblemError, match="the run is not finished"):
        resolve_fitting_folder(moved, None, tmp_path)


def test_a_recorded_folder_may_have_another_name(finished, mini, tmp_path):
    run = tmp_path / "own" / "runs" / "run"
    shutil.copytree(finished[1], run)
    renamed = tmp_path / "renamed"
    shutil.copytree(mini, renamed)
    content = json.loads((run / records.CONFIG).read_text())
    (run / records.CONFIG).write_text(json.dumps({**content, records.DATA_FOLDER: str(renamed)}))
    assert find_data_folder(run, mini.name, tmp_path) == renamed
    assert find_data_folder(run, "mini-0123", tmp_path) is None
    (renamed / "dataset.json").write_text("{")
    assert find_data_folder(run, mini.name, tmp_path) is None
