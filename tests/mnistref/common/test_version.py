"""Versions of installed packages and of the project."""

import re

import numpy as np

from mnistref.common.version import VERSION, versions_of
from tests.helpers import TOP


def test_versions_are_those_of_the_installed_packages():
    assert versions_of(("numpy", "no-such-package")) == {"numpy": np.__version__, "no-such-package": None}
    assert versions_of(()) == {}


def test_version_of_the_project_has_three_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_the_changelog_and_the_citation_agree_on_the_version_and_on_whether_it_is_released():
    changes = (TOP / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    citation = (TOP / "CITATION.cff").read_text(encoding="utf-8")
    is_released = changes.startswith(VERSION)
    assert is_released or changes.startswith(f"Unreleased\n\nVersion {VERSION}, ")
    assert f"\nversion: {VERSION}\n" in citation if is_released else f'\nversion: "{VERSION}, unreleased"\n' in citation
