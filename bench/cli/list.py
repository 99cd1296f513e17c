"""The command `bench list`: parse, import lazily, make one call, print."""

import logging

import click

from mnistref.common.console import emit, emit_json
from mnistref.common.text_table import table


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_mechanisms(pattern: str, as_json: bool) -> None:
    """List the mechanisms and their options.

    PATTERN, such as 'ar*', selects by name. In other commands, options follow the name: arnn:hidden=16:context=5.

    \b
    bench list
    bench list 'ar*'
    """
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
            entries.append(mechanism.describe() | {"params": count_parameters(mechanism.name)})
        except UsageProblemError as error:  # a mechanism of another package may fail
            logging.warning("skipped: %s", error)
    if as_json:
        return emit_json(entries)
    rows = [["mechanism", "slots", "parameters", "paper", "what it does", "options"]]
    for entry in entries:
        options = " ".join(f"{name}={value}" for name, value in entry["options"].items())
        rows.append([entry["name"], entry["slots"], f"{entry['params']:,}", entry["paper"], entry["summary"], options])
    return emit(table(rows))
