"""Commands of `mnistref`: parse the options, import lazily, make one call, print the result."""

import logging
from pathlib import Path
from typing import Any

import click

from mnistref.common.click_program import EXISTING, FOLDER, program
from mnistref.common.console import as_given, emit, emit_json, log_once
from mnistref.common.text_table import table

mnistref = program("mnistref", "Generate query-conditioned attribute benchmarks with a mask for every digit.")


def _note(variant: Any) -> None:
    """Log what a reader of any number on this variant should know."""
    if variant.note:
        log_once(f"{variant.name} is {variant.note}")


@mnistref.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_variants(as_json: bool) -> None:
    """List the variants."""
    from mnistref.variants import VARIANTS

    if as_json:
        fields = ("summary", "paper", "canvas", "background", "query", "classes", "queries", "splits", "note")
        return emit_json([{"name": v.name, **{f: getattr(v, f) for f in fields}} for v in VARIANTS.values()])
    rows = [["variant", "canvas", "classes", "paper", "what it is"]]
    for v in VARIANTS.values():
        note = f" ({v.note})" if v.note else ""
        rows.append([v.name, f"{v.canvas}×{v.canvas}", str(v.classes), v.paper, v.summary + note])
    return emit(table(rows))


@mnistref.command()
@click.option("--variant", required=True, metavar="NAME", help="Variant; see `mnistref list`.")
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Folder of data sets and sources.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random draws, 0 or more.")
@click.option("--train", type=int, help="Training images.  [default: 30000]")
@click.option("--val", type=int, help="Validation images.  [default: 10000]")
@click.option("--test", type=int, help="Test images.  [default: 10000]")
@click.option("--digits", default="mnist", show_default=True, help="mnist, mnist5k, or a folder of IDX files.")
@click.option("--backgrounds", default="builtin", show_default=True, help="builtin, sun397, or a folder of images.")
@click.option("--skip-bad", is_flag=True, help="Leave out unusable photos, and list them.")
@click.option(
    "--any-digits",
    is_flag=True,
    help="Accept a folder of digits that fail the digit check. It refuses images that are not white on black or have "
    "noise, digits that are turned or mirrored, other objects, and wrong labels.",
)
@click.option("--keep-copies", is_flag=True, help="Keep photos that are smaller or recompressed copies of others.")
@click.option(
    "--pool",
    default="disjoint",
    show_default=True,
    metavar="disjoint|pooled",
    help="disjoint: no digit or photo is in two splits; pooled: all splits share them.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of workers.  [default: one per processor, fewer for large shards, to limit memory]",
)
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Use the workers of a Dask scheduler.")
@click.option("--dry-run", is_flag=True, help="Print the folder and the size, and generate nothing.")
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
    any_digits: bool,
    keep_copies: bool,
    pool: str,
    workers: int | None,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Generate a data set.

    A second run resumes, or returns the finished data set. Prints the folder of the data set.

    \b
    mnistref generate --variant mini
    mnistref generate --variant mbg --backgrounds photos/ --seed 1 --train 30000 --workers 8
    """
    from mnistref.generation import generate as generator

    sizes = {split: n for split, n in (("train", train), ("val", val), ("test", test)) if n is not None}
    sources = (digits, backgrounds, pool, skip_bad, any_digits, keep_copies)
    request = generator.Request(variant, root, seed, sizes, *sources)
    if dry_run:
        made = generator.plan(request)
        logging.info("%s images, about %.2f GB; nothing was generated", f"{made.images:,}", made.bytes / 1e9)
        _note(made.spec.variant)
        return emit(made.folder)
    return emit(generator.generate(request, workers, scheduler=scheduler))


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(path: Path, as_json: bool) -> None:
    """Check every byte of a data set, list each bad file, and exit with 3 if there is one."""
    from mnistref.common.errors import DataProblemError
    from mnistref.inspection.verify import advise_on_faults
    from mnistref.inspection.verify import verify as find_faults
    from mnistref.storage.manifest import read_manifest

    faults = find_faults(path)
    if as_json:
        emit_json({"ok": not faults, "faults": [vars(fault) for fault in faults]})
    else:
        emit(
            "\n".join(f"{fault.file}: {fault.what}" for fault in faults)
            or f"{as_given(path)}: every byte is accounted for"
        )
    if not faults:
        _note(read_manifest(path).variant)
    else:
        names = ", ".join(fault.file for fault in faults[:3]) + (" …" if len(faults) > 3 else "")
        count = f"{len(faults)} bad file{'s' * (len(faults) > 1)}"
        raise DataProblemError(f"{path}: {count}: {names}; {advise_on_faults(faults)}")


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--plot", type=FOLDER, help="Also save a figure; the name ends in .png, .svg or .pdf.")
def stats(path: Path, as_json: bool, plot: Path | None) -> None:
    """Measure the statistics of a data set and compare them with the sampling law."""
    from dataclasses import asdict

    from mnistref.inspection.verify import statistics
    from mnistref.storage.manifest import read_manifest

    if plot:
        from mnistref.common.figure_files import check_name
        from mnistref.inspection.plot import save_plot

        check_name(plot)
    manifest, laws = read_manifest(path), statistics(path)
    note = manifest.variant.note
    if plot:
        save_plot(laws, manifest, plot)
        logging.info("figure saved: %s", plot)
    if as_json:
        return emit_json({"dataset": manifest.folder_name, "note": note, "laws": [asdict(law) for law in laws]})
    rows = [["split", "law", "expected", "measured", "p", "holds"]]
    for law in laws:
        p = "" if law.p is None else f"{law.p:.3f}"
        rows.append([law.split, law.law, law.expected, law.measured, p, "yes" if law.holds else "NO"])
    return emit(table(rows) + (f"\n\n{manifest.variant.name} is {note}" if note else ""))


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("-o", "--output", type=FOLDER, required=True, help="The PNG to write.")
@click.option("--split", help="train, val or test.  [default: the last split]")
@click.option("--images", type=click.IntRange(min=1, max=400), default=24, show_default=True)
@click.option("--boxes", is_flag=True, help="Draw the box of every digit.")
def preview(path: Path, output: Path, split: str | None, images: int, boxes: bool) -> None:
    """Draw a contact sheet with questions, answers and outlines of the masks."""
    from mnistref.inspection.preview import save_sheet

    save_sheet(path, output, split, images, boxes)
    emit(output)


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("--to", required=True, metavar="webdataset|parquet|png", help="Output format.")
@click.option("-o", "--output", type=FOLDER, required=True, help="New folder for the result.")
@click.option("--split", "splits", multiple=True, help="Export this split; can be repeated.  [default: all]")
def export(path: Path, to: str, output: Path, splits: tuple[str, ...]) -> None:
    """Convert a data set to a format that other tools read, and print the new folder."""
    from mnistref.export import export as write

    emit(write(path, output, to, splits))
