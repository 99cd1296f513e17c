"""Models of users: made by a function in a file, named by a digest, and loaded again only if nothing changed."""

import pytest
import torch

from bench.runs.user_models import load_recorded_model, make_user_model
from mnistref.common.errors import DataProblemError, UsageProblemError

OWN = """
from near import FACTOR

def make():
    return lambda images, query: FACTOR * images.mean((2, 3))

def make_of(what, more=1):
    return what

def make_nothing():
    return 3

number = 4
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "near.py").write_text("FACTOR = 2\n")
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def test_name_of_a_user_model_has_a_digest_of_its_files(file):
    model = make_user_model(f"{file}:make")
    assert model.name == f"own.py:make#{model.digest}"
    assert model.files == {model.name: str(file), f"{model.name}/near.py": str(file.parent / "near.py")}
    assert make_user_model(f"{file}:make").name == model.name
    (file.parent / "near.py").write_text("FACTOR = 3\n")
    assert make_user_model(f"{file}:make").digest != model.digest


def test_recorded_user_model_is_loaded_again(file, tmp_path):

    files = make_user_model(f"{file}:make").files
    images = torch.ones(2, 3, 4, 4)
    assert torch.equal(load_recorded_model(files, tmp_path)(images, None), torch.full((2, 3), 2.0))


@pytest.mark.parametrize("changed", ["own.py", "near.py"])
def test_changed_files_of_a_user_model_are_not_executed(changed, file, tmp_path):
    files = make_user_model(f"{file}:make").files
    (tmp_path / changed).write_text("raise SystemExit('executed')")
    with pytest.raises(UsageProblemError, match="has changed since the test"):
        load_recorded_model(files, tmp_path)
    (tmp_path / changed).unlink()
    with pytest.raises(UsageProblemError, match=f"{changed}: No such file or directory; restore the file"):
        load_recorded_model(files, tmp_path)


@pytest.mark.parametrize("files", [None, {}, [], {"a": "b"}, {"a.py:f#1": "x", "b.py:f#1": "y"}], ids=str)
def test_records_without_the_file_of_a_user_model_cannot_be_loaded(files, tmp_path):
    with pytest.raises(DataProblemError, match="the record does not have the file of the model"):
        load_recorded_model(files, tmp_path)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("", "give path/to/file.py:function"),
        ("make#1", "give path/to/file.py:function"),
        ("mak", "defines no function 'mak': did you mean 'make'"),
        ("number", "defines no function 'number'"),
        ("make_of", "needs what: give a function without arguments"),
        ("make_nothing", "returned a int: return a module"),
    ],
)
def test_wrong_functions_of_user_models_are_usage_errors(function, message, file):
    with pytest.raises(UsageProblemError, match=message):
        make_user_model(f"{file}:{function}")


def test_missing_file_of_a_user_model_is_a_usage_error(tmp_path):
    with pytest.raises(UsageProblemError, match=r"no\.py: No such file or directory"):
        make_user_model(f"{tmp_path / 'no.py'}:make")
