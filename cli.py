"""The two programs: parse, import lazily, make one call, set the exit code.

stdout carries results only; messages, progress and errors go to stderr. `python cli.py bench …` needs no installation.
"""

if __name__ == "__main__":
    from mnistref.quiet import die_quietly

    die_quietly()  # while the rest is loaded, too

import json
import logging
from pathlib import Path
from typing import Any

import click

from mnistref.program import Program, program
from mnistref.text import table

FOLDER = click.Path(path_type=Path)
EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)


def _note(variant: Any) -> None:
    """Say what a reader of any number on this variant must know."""
    if variant.note:
        logging.info("%s is %s", variant.name, variant.note)


def _json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


mnistref = program("mnistref", "Generate query-conditioned attribute benchmarks with a mask for every digit.")
bench = program("bench", "Train and measure attention mechanisms on them.")


@mnistref.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_variants(as_json: bool) -> None:
    """List the variants."""
    from mnistref.variants import VARIANTS

    if as_json:
        fields = ("summary", "paper", "canvas", "background", "query", "classes", "queries", "splits", "note")
        return _json([{"name": v.name, **{f: getattr(v, f) for f in fields}} for v in VARIANTS.values()])
    rows = [["variant", "canvas", "classes", "paper", "what it is"]]
    for v in VARIANTS.values():
        note = f" ({v.note})" if v.note else ""
        rows.append([v.name, f"{v.canvas}×{v.canvas}", str(v.classes), v.paper, v.summary + note])
    return click.echo(table(rows))


@mnistref.command()
@click.option("--variant", required=True, metavar="NAME", help="Which one; see `mnistref list`.")
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Where data are kept.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--train", type=int, help="Training images.  [default: 30000]")
@click.option("--val", type=int, help="Validation images.  [default: 10000]")
@click.option("--test", type=int, help="Test images.  [default: 10000]")
@click.option("--digits", default="mnist", show_default=True, help="mnist, mnist5k, or a folder of IDX files.")
@click.option("--backgrounds", default="builtin", show_default=True, help="builtin, sun397, or a folder of images.")
@click.option("--skip-bad", is_flag=True, help="Leave out photos that cannot be used, and name them.")
@click.option(
    "--pool",
    default="disjoint",
    show_default=True,
    metavar="disjoint|pooled",
    help="Whether splits share digits and photos.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Shards made at a time.  [default: one per processor]")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers make them: tcp://HOST:PORT.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and make nothing.")
def generate(
    variant: str,
    root: Path,
    seed: int,
    train: int | None,
    val: int | None,
    test: int | None,
    digits: str,
    backgrounds: str,
    skip_bad: bool,
    pool: str,
    workers: int | None,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Make a data set and print its folder. Run again, it resumes, or does nothing."""
    from mnistref import generate as generator

    sizes = {split: n for split, n in (("train", train), ("val", val), ("test", test)) if n is not None}
    request = generator.Request(variant, root, seed, sizes, digits, backgrounds, pool, skip_bad)
    if dry_run:
        made = generator.plan(request)
        logging.info("%s images, about %.2f GB; nothing is made", f"{made.images:,}", made.bytes / 1e9)
        _note(made.spec.variant)
        return click.echo(made.folder)
    return click.echo(generator.generate(request, workers, scheduler=scheduler))


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(path: Path, as_json: bool) -> None:
    """Account for every byte of a data set; name each bad file, and exit with 3 if there is one."""
    from mnistref.audit import advice
    from mnistref.audit import verify as find_faults
    from mnistref.errors import DataProblemError
    from mnistref.manifest import read_manifest

    faults = find_faults(path)
    if as_json:
        _json({"ok": not faults, "faults": [vars(fault) for fault in faults]})
    else:
        click.echo(
            "\n".join(f"{fault.file}: {fault.what}" for fault in faults) or f"{path}: every byte is accounted for"
        )
    if not faults:
        _note(read_manifest(path).variant)
    else:
        names = ", ".join(fault.file for fault in faults[:3]) + (" …" if len(faults) > 3 else "")
        count = f"{len(faults)} bad file{'s' * (len(faults) > 1)}"
        raise DataProblemError(f"{path}: {count}: {names}; {advice(faults)}")


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--plot", type=FOLDER, help="Also draw them: a name ending in .png, .svg or .pdf.")
def stats(path: Path, as_json: bool, plot: Path | None) -> None:
    """Measure the laws of a data set beside what is expected."""
    from dataclasses import asdict

    from mnistref.audit import statistics
    from mnistref.manifest import read_manifest

    if plot:
        from mnistref.plot import check_name, save_plot

        check_name(plot)
    manifest, laws = read_manifest(path), statistics(path)
    note = manifest.variant.note
    if plot:
        save_plot(laws, manifest, plot)
        logging.info("drawn: %s", plot)
    if as_json:
        return _json({"dataset": manifest.folder_name, "note": note, "laws": [asdict(law) for law in laws]})
    rows = [["split", "law", "expected", "measured", "p", "holds"]]
    for law in laws:
        p = "" if law.p is None else f"{law.p:.3f}"
        rows.append([law.split, law.law, law.expected, law.measured, p, "yes" if law.holds else "NO"])
    return click.echo(table(rows) + (f"\n\n{manifest.variant.name} is {note}" if note else ""))


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("-o", "--output", type=FOLDER, required=True, help="The PNG to write.")
@click.option("--split", help="train, val or test.  [default: the last there is]")
@click.option("--images", type=click.IntRange(min=1, max=400), default=24, show_default=True)
@click.option("--boxes", is_flag=True, help="Draw the box of every digit.")
def preview(path: Path, output: Path, split: str | None, images: int, boxes: bool) -> None:
    """Draw a contact sheet: questions, answers, outlines of the masks."""
    from mnistref.preview import save_sheet

    save_sheet(path, output, split, images, boxes)
    click.echo(output)


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("--to", required=True, metavar="webdataset|parquet|png", help="The format.")
@click.option("-o", "--output", type=FOLDER, required=True, help="The folder to make.")
@click.option("--split", "splits", multiple=True, help="Only this one; may be given again.  [default: all]")
def export(path: Path, to: str, output: Path, splits: tuple[str, ...]) -> None:
    """Write a data set in a format that other tools read, and print the folder."""
    from mnistref.export import export as write

    click.echo(write(path, output, to, splits))


@bench.command("list")
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_mechanisms(pattern: str, as_json: bool) -> None:
    """List the mechanisms (those that match PATTERN, such as 'pan*') with their parameters at 100 px."""
    from fnmatch import fnmatchcase

    from bench.attention import MECHANISMS
    from bench.model import create_model
    from mnistref.errors import UsageProblemError

    found: list[dict[str, Any]] = []
    for m in MECHANISMS.values():
        if fnmatchcase(m.name, pattern):
            params = sum(p.numel() for p in create_model(m.name, variant="mbg").parameters())
            slots = "none" if not m.target else "last" if m.last_only else "all"
            found.append({"name": m.name, "paper": m.paper, "summary": m.summary, "slots": slots, "params": params})
    if as_json:
        return _json(found)
    if not found:
        raise UsageProblemError(f"no mechanism is called {pattern!r}; known: {', '.join(MECHANISMS)}")
    rows = [["mechanism", "slots", "parameters", "paper", "what it does"]]
    rows += [[f["name"], f["slots"], f"{f['params']:,}", f["paper"], f["summary"]] for f in found]
    return click.echo(table(rows))


@bench.command()
@click.option("--attn", required=True, metavar="NAME", help="A mechanism (see `bench list`) or slots: none,arnn.")
@click.option("--variant", metavar="NAME", help="Data set to train on.  [default: the preset's]")
@click.option("--data", type=EXISTING, help="A data set already made, instead of --variant.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--recipe", metavar="fast|pan", help="How to train.  [default: the preset's]")
@click.option("--preset", type=click.Choice(["paper", "quick"]), default="paper", show_default=True)
@click.option("--queries", type=click.Choice(["one", "all", "author"]), default="one", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--digits", help="For data that are missing, as in `mnistref generate`.  [default: the preset's]")
@click.option("--backgrounds", default="builtin", show_default=True, help="Likewise.")
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Where data are kept.")
@click.option("--runs", type=FOLDER, help="Where runs are kept.  [default: ROOT/runs]")
@click.option(
    "--resume/--restart",
    default=True,
    show_default=True,
    help="Go on after the last epoch of an interrupted run, or start it again.",
)
def run(
    attn: str,
    variant: str | None,
    data: Path | None,
    seed: int,
    recipe: str | None,
    preset: str,
    queries: str,
    epochs: int | None,
    device: str,
    precision: str,
    digits: str | None,
    backgrounds: str,
    root: Path,
    runs: Path | None,
    resume: bool,
) -> None:
    """Train and test one network and print the run's folder. Missing data are generated first."""
    from bench import sweep
    from bench.config import PRESETS, choose_recipe

    if data and variant:
        raise click.UsageError("give --data or --variant, not both")
    chosen = PRESETS[preset]
    plan = choose_recipe(chosen, recipe, epochs)
    target = sweep.pick_device(device)
    folder = data or sweep.prepare(chosen, attn, variant, root, digits, backgrounds)
    config = sweep.configure(folder, attn, seed, plan, queries, precision, target)
    click.echo(sweep.run(config, folder, runs or root / "runs", target, resume))


@bench.command("leaderboard")
@click.option("--runs", type=FOLDER, default="data_cache/runs", show_default=True, help="Where runs are kept.")
@click.option("--variant", metavar="NAME", help="Only this variant.")
@click.option("-o", "--output", type=FOLDER, help="Write CSV to this file and print its name.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def print_leaderboard(runs: Path, variant: str | None, output: Path | None, markdown: bool) -> None:
    """One row for each mechanism and data set, with published numbers beside measured ones."""
    from bench.leaderboard import leaderboard, to_csv, to_text
    from bench.records import results
    from mnistref.errors import UsageProblemError
    from mnistref.files import write_whole
    from mnistref.variants import get_variant

    board = leaderboard(results(runs), get_variant(variant).name if variant else None)
    if board.empty:
        raise UsageProblemError(f"{runs}: no finished runs here; make one with `bench run`, or give --runs")
    if output:
        write_whole(output, to_csv(board).encode())
        logging.info("%s", to_text(board))
        return click.echo(output)
    return click.echo(to_text(board, markdown))


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
def both() -> None:
    """mnistref generates the benchmarks, bench measures attention on them."""


both.add_command(mnistref)
both.add_command(bench)

if __name__ == "__main__":
    both()
