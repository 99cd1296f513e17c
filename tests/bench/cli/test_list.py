"""The command `bench list`: its entries are those of the registry."""

import json

import cli
from bench.attention import MECHANISMS
from tests.commands import call


def test_list_follows_the_registry():
    named = json.loads(call(cli.bench, "list", "--json").stdout)
    assert [m["name"] for m in named] == list(MECHANISMS)
    assert all(m["params"] > 20_000 for m in named)
    assert [m["name"] for m in json.loads(call(cli.bench, "list", "pan*", "--json").stdout)] == ["pan", "pan-ctx"]
