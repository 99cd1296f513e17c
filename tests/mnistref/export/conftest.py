"""Exports for tests, and the `datasets` library."""

import os

import pytest

from mnistref.export import FORMATS, export

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="module")
def exported(make, tmp_path_factory):
    """Return a function `exported(variant, format)` that returns the folders of a data set and of its export."""
    top = tmp_path_factory.mktemp("exports")

    def exported(variant: str, to: str):
        output = top / f"{variant}-{to}"
        return make(variant), output if output.exists() else export(make(variant), output, to)

    return exported


@pytest.fixture(params=FORMATS)
def to(request) -> str:
    """Return the name of each format whose package is installed."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return request.param


@pytest.fixture
def load(tmp_path):
    """Return datasets.load_dataset with a separate cache."""
    datasets = pytest.importorskip("datasets")
    return lambda *args, **options: datasets.load_dataset(*args, **options, cache_dir=str(tmp_path / "cache"))
