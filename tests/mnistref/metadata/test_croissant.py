"""croissant.json, checked with the reference validator."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mnistref.storage.schema import FIELDS
from mnistref.variants import VARIANTS


@pytest.mark.parametrize("variant", ["mbg", "mbginv", "mbgmulti", "mini"])
def test_the_reference_validator_accepts_croissant_without_a_warning(variant, make):
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = make(variant)
    metadata = mlcroissant.Dataset(jsonld=str(folder / "croissant.json")).metadata
    assert metadata.ctx.issues.errors == metadata.ctx.issues.warnings == set()
    sums = {d.name: d.sha256 for d in metadata.distribution if isinstance(d, mlcroissant.FileObject)}
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.h5")}
    assert [records.name for records in metadata.record_sets] == list(VARIANTS[variant].splits)
    for records in metadata.record_sets:
        assert [field.name for field in records.fields] == list(FIELDS)


def test_croissant_states_that_the_reference_library_reads_no_hdf5(make):
    """A failure means that the library reads HDF5 now. Then compare the records, and change the description."""
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=str(make("mini") / "croissant.json"))
    with pytest.raises(mlcroissant.GenerationError) as caught:
        next(iter(dataset.records("test")))
    assert "application/x-hdf5" in str(caught.value.__cause__)
    assert all("reads no HDF5" in records.description for records in dataset.metadata.record_sets)


def test_croissant_command_accepts_valid_and_refuses_invalid_metadata(make, tmp_path):
    pytest.importorskip("mlcroissant")
    content = json.loads((make("mini") / "croissant.json").read_text(encoding="utf-8"))

    def validate(**changes):
        path = tmp_path / "croissant.json"
        path.write_text(json.dumps({**content, **changes}))
        command = [str(Path(sys.executable).with_name("mlcroissant")), "validate", "--jsonld", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = validate()
    assert good.returncode == 0
    assert "Done." in good.stderr
    assert "warning" not in good.stderr.lower()
    bad = validate(distribution=[{**content["distribution"][0], "sha256": None}])
    assert bad.returncode == 1
    assert "warning" in validate(citeAs=None).stderr.lower()
