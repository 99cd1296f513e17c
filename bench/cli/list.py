"""The command `bench list`: parse, import lazily, make one call, print."""

import logging

import click

from mnistref.common.console import emit, emit_json
from mnistref.common.text_table import table


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--networks", "only_networks", is_flag=True, help="List the networks only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_mechanisms(pattern: str, only_networks: bool, as_json: bool) -> None:
    """List the mechanisms with their options, and the networks.

    PATTERN, such as 'ar*', selects by name. In other commands, options follow the name: arnn:hidden=16:context=5. The
    list of networks, for --network, is printed without a pattern; with --networks, only that list. Its parameters are
    those without attention, for 32 px, 10 classes and no question.

    \b
    bench list
    bench list 'ar*'
    bench list --networks
    """
    if only_networks:
        return _list_networks(as_json)
    from fnmatch import fnmatchcase

    from bench.attention import known_mechanisms
    from bench.model import count_parameters
    from mnistref.common.errors import UsageProblemError, did_you_mean

    known = known_mechanisms()
    matching = [
        mechanism
        for mechanism in known.values()
        if any(fnmatchcase(name, pattern) for name in (mechanism.name, *mechanism.aliases))
    ]
    if not matching:
        raise UsageProblemError(f"no mechanism matches {pattern!r}: {did_you_mean(pattern, list(known))}")
    entries = []
    for mechanism in matching:
        try:
            entries.append((mechanism.describe(), count_parameters(mechanism.name)))
        except UsageProblemError as error:  # a mechanism of another package may fail
            logging.warning("skipped: %s", error)
    if as_json:
        return emit_json([entry | {"params": parameters} for entry, parameters in entries])
    rows = [["mechanism", "slots", "parameters", "paper", "what it does", "options"]]
    for entry, parameters in entries:
        options = " ".join(f"{name}={value}" for name, value in entry["options"].items())
        rows.append([entry["name"], entry["slots"], f"{parameters:,}", entry["paper"], entry["summary"], options])
    emit(table(rows))
    if pattern == "*":
        emit("")
        _list_networks(as_json=False)
    return None


def _list_networks(as_json: bool) -> None:
    """Print the networks, with their parameters without attention."""
    from bench.networks import NETWORKS

    entries = [network.describe() for network in NETWORKS.values()]
    if as_json:
        return emit_json(entries)
    rows = [["network", "slots", "width", "parameters", "paper", "what it is"]]
    for entry in entries:
        kinds = [slot["kind"] for slot in entry["slots"]]
        slots = " + ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        rows.append(
            [entry["name"], slots, str(entry["width"]), f"{entry['params']:,}", entry["paper"], entry["summary"]]
        )
    return emit(table(rows))
