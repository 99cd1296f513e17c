"""The command `bench list`: its entries are those of the registries."""

import json

import cli
from bench.attention import MECHANISMS
from bench.networks import NETWORKS
from tests.bench.bench_command import bench
from tests.commands import call


def test_list_follows_the_registry():
    named = json.loads(call(cli.bench, "list", "--json").stdout)
    assert [m["name"] for m in named] == list(MECHANISMS)
    assert all(m["params"] > 20_000 for m in named)
    assert [m["name"] for m in json.loads(call(cli.bench, "list", "pan*", "--json").stdout)] == ["pan", "pan-ctx"]


def test_networks_are_listed_with_their_slots_and_parameters():
    code, text, _ = bench("list", "--networks")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()[1:]] == [*NETWORKS]
    (line,) = (line for line in text.splitlines() if line.startswith("resnet18 "))
    assert "8 block + 1 readout" in line
    assert "11,173,962" in line
    listed = json.loads(bench("list", "--networks", "--json")[1])
    assert [(entry["name"], entry["width"]) for entry in listed] == [(n.name, n.width) for n in NETWORKS.values()]
    assert [slot["name"] for slot in listed[4]["slots"]] == ["l1", "l2", "l3"]


def test_a_pattern_lists_mechanisms_only():
    code, text, _ = bench("list", "ltpa-*")
    assert code == 0
    assert "head=concat" in text
    assert "resnet18" not in text
