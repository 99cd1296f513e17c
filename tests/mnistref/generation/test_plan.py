"""Plans of requests: the specification and its name."""

import shutil

import pytest

from mnistref.common.errors import UsageProblemError
from mnistref.generation.generate import plan


def test_sources_are_named_by_content(request_for, idx_folder, photo_folder, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(idx_folder, moved / "digits")
    shutil.copytree(photo_folder, moved / "photos")
    here = plan(request_for()).spec.spec_id
    assert plan(request_for(digits=str(moved / "digits"), backgrounds=str(moved / "photos"))).spec.spec_id == here
    next((moved / "photos").rglob("*.png")).unlink()
    assert plan(request_for(digits=str(moved / "digits"), backgrounds=str(moved / "photos"))).spec.spec_id != here


@pytest.mark.parametrize("key", ["seed", "pool", "sizes"])
def test_spec_id_depends_on_every_setting_of_the_content(key, request_for):
    other = {"seed": 5, "pool": "pooled", "sizes": {"train": 22, "val": 8, "test": 9}}
    assert plan(request_for(**{key: other[key]})).spec.spec_id != plan(request_for()).spec.spec_id


@pytest.mark.parametrize(("changes", "message"), [({"seed": -1}, "seed -1"), ({"pool": "mixed"}, "pool 'mixed'")])
def test_plans_of_bad_requests_are_refused(changes, message, request_for):
    with pytest.raises(UsageProblemError, match=message):
        plan(request_for(**changes))


def test_own_ranges_give_the_same_name_and_other_ranges_other_names(request_for):
    plain = plan(request_for("mref")).spec
    own = plan(request_for("mref", scales=(0.5, 3), digits_per_image=(5, 9), canvas=100)).spec
    assert own == plain
    others = [{"scales": (0.5, 2.5)}, {"scales": (0.6, 3)}, {"digits_per_image": (4, 9)}, {"canvas": 120}]
    names = {plan(request_for("mref", **changes)).spec.folder_name for changes in others}
    assert len(names | {plain.folder_name}) == 1 + len(others)
