"""The command `bench check`: parse, import lazily, make one call, print."""

import logging
from typing import TYPE_CHECKING

import click

from bench.config import DEFAULT_NETWORK
from mnistref.common.console import emit, emit_json

if TYPE_CHECKING:
    from bench.conformance.checks import Finding

ALL = "all"
"""As the name of a network: all networks."""


@click.command("check")
@click.argument("module")
@click.option(
    "--network",
    "architecture",
    metavar="NAME",
    default=DEFAULT_NETWORK,
    show_default=True,
    help="The network in which MODULE is trained; see `bench list --networks`. all checks it in every network.",
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
    bench check my_attention.py:MyAttention --network all
    """
    from bench.attention.plugins import require_files_exist

    require_files_exist(module)
    from bench.conformance.checks import describe_verdict
    from bench.conformance.isolation import check_isolated
    from mnistref.common.errors import SummaryProblemError

    if architecture == ALL:
        return _report_all_networks(module, as_json)
    findings = check_isolated(module, architecture)
    verdict = describe_verdict(findings)
    _log_tracebacks(findings)
    first = next((finding for finding in findings if finding.ok is False), None)
    if as_json:
        emit_json([finding.as_dict() for finding in findings])
        if first:
            short = describe_verdict(findings, with_names=False)
            raise SummaryProblemError(f"{module}: {short}; the first: {first.description}: {first.reason}")
        return logging.info("%s: %s", module, verdict)
    emit("\n".join([*map(_describe, findings), verdict]))
    if first:
        raise SummaryProblemError(f"{module}: not fit to be benchmarked; the lines that begin with NO have the reasons")
    return None


def _report_all_networks(module: str, as_json: bool) -> None:
    """Print a verdict for each network, and the checks that failed in it."""
    from bench.conformance.checks import describe_verdict
    from bench.conformance.isolation import check_in_networks
    from bench.networks import NETWORKS
    from mnistref.common.errors import SummaryProblemError

    reports: dict[str, list[dict[str, str | bool | None]]] = {}
    unfit = []
    for name, findings in check_in_networks(module, NETWORKS):
        _log_tracebacks(findings)
        failed = [finding for finding in findings if finding.ok is False]
        if failed:
            unfit.append(name)
        reports[name] = [finding.as_dict() for finding in findings]
        if not as_json:
            lines = [f"  {_describe(finding)}" for finding in failed]
            emit("\n".join([f"{name:10}  {describe_verdict(findings, with_names=False)}", *lines]))
    if as_json:
        emit_json(reports)
    verdict = f"fit in {len(reports) - len(unfit)} of {len(reports)} networks"
    if unfit:
        raise SummaryProblemError(f"{module}: {verdict}; not in {', '.join(unfit)}")
    logging.info("%s: %s", module, verdict)


def _describe(finding: "Finding") -> str:
    mark = {True: "ok", False: "NO", None: "note"}[finding.ok]
    return f"{mark:4}  {finding.description}{': ' * bool(finding.reason)}{finding.reason}"


def _log_tracebacks(findings: "list[Finding]") -> None:
    for finding in findings:
        if finding.traceback:
            logging.getLogger("bench").debug("%s:\n%s", finding.description, finding.traceback)
