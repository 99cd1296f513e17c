"""The pages of a data set: the card, and croissant.json with the reference validator of Croissant."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnistref.inspection.verify import verify
from mnistref.metadata.card import card
from mnistref.metadata.credits import LICENCES
from mnistref.storage.manifest import read_manifest
from mnistref.storage.schema import FIELDS
from mnistref.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_card_describes_the_data_set_and_how_it_was_generated(variant, make):
    folder = make(variant)
    text, law = (folder / "README.md").read_text(encoding="utf-8"), VARIANTS[variant]
    for word in (
        *(f"`{name}`" for name in FIELDS),
        f"mnistref generate --variant {variant} ",
        "CC BY-SA 3.0",
        law.note,
    ):
        assert word in text, word
    assert ("natural photo" in text) == ("your own; its licence" in text) == (law.background == "photo")
    assert ("--backgrounds <photos" in text) == (law.background == "photo")
    assert "none" not in text.split("\n## ")[0]
    assert text == card(read_manifest(folder))


@pytest.mark.parametrize(
    ("own_digits", "own_photos"), [("mnist", "builtin"), ("mnist5k", "sun397"), ("mine", "folder")]
)
def test_folder_with_the_name_of_a_source_is_not_credited_as_the_source(
    own_digits, own_photos, make, idx_folder, photo_folder, tmp_path
):
    shutil.copytree(idx_folder, tmp_path / own_digits)
    shutil.copytree(photo_folder, tmp_path / own_photos)
    folder = make("mbg", root=tmp_path, digits=str(tmp_path / own_digits), backgrounds=str(tmp_path / own_photos))
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"--digits <{own_digits}> --backgrounds <{own_photos}>" in text
    assert text.count("your own; its licence is yours to state") == 2
    assert json.loads((folder / "croissant.json").read_text(encoding="utf-8"))["license"] == [
        f"{name}: your own; its licence is yours to state" for name in (own_digits, own_photos)
    ]
    assert read_manifest(folder).digits.kind == read_manifest(folder).backgrounds.kind == "folder"
    assert verify(folder) == []


def test_the_known_sources_are_named_with_their_licences(make):
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    folder = make("mbg", backgrounds="builtin")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "--digits mnist5k --backgrounds builtin" in text
    assert LICENCES["mnist5k"] in text
    assert LICENCES["builtin"] in text


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
