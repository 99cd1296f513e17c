"""The command `bench report`: parse, import lazily, make one call, print."""

from pathlib import Path

import click

from mnistref.program import FOLDER


@click.command("report")
@click.option("--runs", type=FOLDER, default="data_cache/runs", show_default=True, help="Where runs are kept.")
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Where data are kept.")
@click.option("--variant", metavar="NAME", help="Only this variant.")
@click.option("--baseline", default="san", show_default=True, metavar="NAME", help="Differences are to this network.")
@click.option("-o", "--out", type=FOLDER, default="report.html", show_default=True, help="The page's name.")
def print_report(runs: Path, root: Path, variant: str | None, baseline: str, out: Path) -> None:
    """Write leaderboard, curves, pictures of attention and cards as one HTML file; print its name.

    It needs no network, and the same records give the same bytes.

    \b
    bench report --out report.html
    bench report --variant mref --runs data_cache/runs -o mref.html
    """
    from bench.attention import canonical_name
    from bench.report.page import page
    from mnistref.files import write_whole
    from mnistref.variants import get_variant

    only = get_variant(variant).name if variant else None
    write_whole(out, page(runs, root, only, canonical_name(baseline)).encode())
    click.echo(out)
