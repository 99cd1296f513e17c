"""The command `bench check`: parse, import lazily, make one call, print."""

import logging

import click

from bench.config import DEFAULT_NETWORK
from mnistref.common.console import emit, emit_json


@click.command("check")
@click.argument("module")
@click.option(
    "--network",
    "architecture",
    metavar="NAME",
    default=DEFAULT_NETWORK,
    show_default=True,
    help="The network in which MODULE is trained; see `bench list`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(module: str, architecture: str, as_json: bool) -> None:
    """Check whether MODULE can be benchmarked.

    MODULE is path/to/file.py:Class, or a name (see `bench list`). Prints the findings, and the verdict in the last
    line; with --json, the verdict is on stderr. Exits with 6 if MODULE cannot be benchmarked. --debug also shows the
    tracebacks of errors in MODULE, on stderr.

    \b
    bench check bench/examples/own_attention.py:Compare
    bench check my_attention.py:MyAttention --debug
    bench check my_attention.py:MyAttention --network resnet18
    """
    from bench.attention.plugins import require_files_exist

    require_files_exist(module)
    from bench.conformance.checks import describe_verdict
    from bench.conformance.isolation import check_isolated
    from mnistref.common.errors import SummaryProblemError

    findings = check_isolated(module, architecture)
    verdict = describe_verdict(findings)
    for finding in findings:
        if finding.traceback:
            logging.getLogger("bench").debug("%s:\n%s", finding.description, finding.traceback)
    first = next((finding for finding in findings if finding.ok is False), None)
    if as_json:
        emit_json([finding.as_dict() for finding in findings])
        if first:
            short = describe_verdict(findings, with_names=False)
            raise SummaryProblemError(f"{module}: {short}; the first: {first.description}: {first.reason}")
        return logging.info("%s: %s", module, verdict)
    marks = {True: "ok", False: "NO", None: "note"}
    lines = [f"{marks[f.ok]:4}  {f.description}{': ' * bool(f.reason)}{f.reason}" for f in findings]
    emit("\n".join([*lines, verdict]))
    if first:
        raise SummaryProblemError(f"{module}: not fit to be benchmarked; the lines that begin with NO have the reasons")
    return None
