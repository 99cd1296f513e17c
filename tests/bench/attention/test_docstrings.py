"""The docstring of every mechanism: its equation and its arguments."""

import re

import pytest

from bench.attention import MECHANISMS
from tests.bench.attention.helpers import WITH_CLASS

RANGES = {int: r"\b[01] or more|\bodd\b", float: r"\b0 or more", bool: r"\btrue\b.*\bfalse\b", str: r"\w,? or \S"}
"""Phrases of a docstring for the allowed values of an option, by type."""


@pytest.mark.parametrize("name", WITH_CLASS)
def test_every_docstring_cites_its_equation_and_gives_its_arguments(name):
    m = MECHANISMS[name]
    module = __import__(m.cls.__module__, fromlist=["_"])
    said = f"{module.__doc__} {m.cls.__doc__}"
    assert re.search(r"\b20[12]\d\b", said)
    assert "§" in said or "Eq." in said
    assert re.search(r"Decisions where the papers? leaves? a choice", said)
    assert "(B, " in (m.cls.forward.__doc__ or "")
    for option, value in m.parameters().items():
        line = re.search(rf"^ +{option}: (.*(?:\n {{12}}.*)*)", m.cls.__doc__, re.MULTILINE)
        assert line, option
        assert re.search(RANGES[type(value)], line[1], re.DOTALL), line[0]
