"""Licences of the sources in the pages of a data set."""

import json
import shutil

import pytest

from mnistref.inspection.verify import verify
from mnistref.metadata.credits import LICENCES
from mnistref.storage.manifest import read_manifest


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
