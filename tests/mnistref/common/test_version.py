"""Versions of installed packages."""

import re

import numpy as np

from mnistref.common.version import VERSION, versions_of


def test_versions_are_those_of_the_installed_packages():
    assert versions_of(("numpy", "no-such-package")) == {"numpy": np.__version__, "no-such-package": None}
    assert versions_of(()) == {}


def test_version_of_the_project_has_three_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
