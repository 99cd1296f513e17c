"""Commands of `mnistref`: parse the options, import lazily, make one call, print the result."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnistref.common.click_program import EXISTING, FOLDER, HeadedCommand, RangeType, headed_option, program
from mnistref.common.console import emit, emit_json, in_user_spelling, log_once
from mnistref.common.text_table import table
from mnistref.spec import DISJOINT, POOLS, VariantSpec

if TYPE_CHECKING:
    _TextType = click.ParamType[str]
else:  # before click 8.4, this class is not generic
    _TextType = click.ParamType

mnistref = program("mnistref", "Generate query-conditioned attribute benchmarks with a mask for every digit.")


class _ExportFormat(_TextType):
    """The name of an export format. The help lists the formats, which are imported only then."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the names of all formats. Before click 8.2, there is no context."""
        from mnistref.export import FORMATS

        return "|".join(FORMATS)


def _note(variant: VariantSpec) -> None:
    """Log the note of a variant, if it has one."""
    if variant.note:
        log_once(f"{variant.name} is {variant.note}")


@mnistref.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_variants(as_json: bool) -> None:
    """List the variants.

    \b
    mnistref list
    mnistref list --json
    """
    from mnistref.variants import VARIANTS

    if as_json:
        fields = ("summary", "paper", "canvas", "background", "query", "classes", "queries", "splits", "note")
        return emit_json([{"name": v.name, **{f: getattr(v, f) for f in fields}} for v in VARIANTS.values()])
    rows = [["variant", "canvas", "classes", "paper", "what it is"]]
    for v in VARIANTS.values():
        note = f" ({v.note})" if v.note else ""
        rows.append([v.name, f"{v.canvas}×{v.canvas}", str(v.classes), v.paper, v.summary + note])
    return emit(table(rows))


_data = partial(headed_option, "Data set")
_law = partial(headed_option, "Other laws than the papers'")
_sources = partial(headed_option, "Sources")
_workers = partial(headed_option, "Workers")


@mnistref.command(cls=HeadedCommand)
@_data("--variant", required=True, metavar="NAME", help="Variant; see `mnistref list`.")
@_data("--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of all random draws, 0 or more.")
@_data("--train", type=int, metavar="N", help="Training images.  [default: 30000]")
@_data("--val", type=int, metavar="N", help="Validation images.  [default: 10000]")
@_data("--test", type=int, metavar="N", help="Test images.  [default: 10000]")
@_data("--root", type=FOLDER, default="data_cache", show_default=True, help="Folder of data sets and sources.")
@_data("--dry-run", is_flag=True, help="Print the folder and the size only.")
@_sources("--digits", default="mnist", show_default=True, help="mnist, mnist5k, or a folder of IDX files.")
@_sources("--backgrounds", default="builtin", show_default=True, help="builtin, sun397, or a folder of images.")
@_sources("--skip-bad", is_flag=True, help="Leave out unusable photos, and list them.")
@_sources("--any-digits", is_flag=True, help="Accept digits that fail the digit check.")
@_sources("--keep-copies", is_flag=True, help="Keep photos that are copies of others.")
@_sources("--pool", default=DISJOINT, show_default=True, metavar="|".join(POOLS), help="Whether splits share sources.")
@_law("--scales", type=RangeType(float), help="Scales of a digit, up to 8.  [default: the variant's, 0.5,3 for mbg]")
@_law(
    "--digits-per-image", type=RangeType(int), help="Digits in an image, 1 to 9.  [default: the variant's, 5,9 for mbg]"
)
@_law("--canvas", type=int, metavar="PIXELS", help="Side of an image.  [default: the variant's, 100 for mbg]")
@_law("--distractors", type=int, metavar="N", help="Distractors in an image.  [default: the variant's, 17 for mdist]")
@_workers(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of workers.  [default: processors, fewer for large images]",
)
@_workers("--scheduler", metavar="tcp://HOST:PORT", help="Use the workers of a Dask scheduler.")
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
    scales: tuple[float, float] | None,
    digits_per_image: tuple[int, int] | None,
    canvas: int | None,
    distractors: int | None,
    workers: int | None,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Generate a data set.

    A second run resumes, or returns the finished data set. Prints the folder of the data set.

    The digit check refuses images that are not white on black or have noise, digits that are turned or mirrored, other
    objects, and wrong labels. Smaller or recompressed copies of a photo are skipped. With --pool disjoint, no digit or
    photo is in two splits. By default there is one worker per processor, or fewer if shards are large.

    --scales, --digits-per-image, --canvas and --distractors change the sampling law. The data set then has its own id,
    and a note that its law is not the papers'.

    \b
    mnistref generate --variant mini
    mnistref generate --variant mbg --scales 1,1.5
    mnistref generate --variant mone --distractors 17
    mnistref generate --variant mbg --backgrounds photos/ --seed 1 --train 30000 --workers 8
    """
    from mnistref.generation import generate as generator

    sizes = {split: n for split, n in (("train", train), ("val", val), ("test", test)) if n is not None}
    request = generator.Request(
        variant,
        root=root,
        seed=seed,
        sizes=sizes,
        digits=digits,
        backgrounds=backgrounds,
        pool=pool,
        skip_bad=skip_bad,
        any_digits=any_digits,
        keep_copies=keep_copies,
        scales=scales,
        digits_per_image=digits_per_image,
        canvas=canvas,
        distractors=distractors,
    )
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
    """Check every byte of a data set.

    Lists each bad file, and exits with 3 if there is one.

    \b
    mnistref verify data_cache/datasets/mini-…
    """
    from mnistref.common.errors import DataProblemError
    from mnistref.inspection.verify import advise_on_faults
    from mnistref.inspection.verify import verify as find_faults
    from mnistref.storage.manifest import read_manifest

    faults = find_faults(path)
    if as_json:
        emit_json({"ok": not faults, "faults": [vars(fault) for fault in faults]})
    else:
        emit(
            "\n".join(f"{fault.file}: {fault.description}" for fault in faults)
            or f"{in_user_spelling(path)}: every byte is accounted for"
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
    """Compare a data set with its sampling law.

    Prints the expected and the measured value of every law.

    \b
    mnistref stats data_cache/datasets/mini-…
    mnistref stats data_cache/datasets/mini-… --plot laws.png
    """
    from dataclasses import asdict

    from mnistref.inspection.statistics import statistics
    from mnistref.storage.manifest import read_manifest

    if plot:
        from mnistref.common.figure_files import require_figure_name
        from mnistref.inspection.plot import save_plot

        require_figure_name(plot)
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
@click.option(
    "--images",
    type=click.IntRange(min=1, max=400),
    metavar="N",
    default=24,
    show_default=True,
    help="Number of images.",
)
@click.option("--boxes", is_flag=True, help="Draw the box of every digit.")
def preview(path: Path, output: Path, split: str | None, images: int, boxes: bool) -> None:
    """Draw images with questions and outlines.

    \b
    mnistref preview data_cache/datasets/mini-… -o sheet.png
    mnistref preview data_cache/datasets/mini-… -o train.png --split train --images 60 --boxes
    """
    from mnistref.inspection.preview import save_sheet

    save_sheet(path, output, split, images, boxes)
    emit(output)


@mnistref.command()
@click.argument("path", type=EXISTING)
@click.option("--to", required=True, type=_ExportFormat(), help="Output format.")
@click.option("-o", "--output", type=FOLDER, required=True, help="New folder for the result.")
@click.option("--split", "splits", multiple=True, help="Export this split; can be repeated.  [default: all]")
def export(path: Path, to: str, output: Path, splits: tuple[str, ...]) -> None:
    """Convert a data set to another format.

    Prints the new folder.

    \b
    mnistref export data_cache/datasets/mini-… --to webdataset -o mini-webdataset
    mnistref export data_cache/datasets/mini-… --to png -o mini-png --split test
    """
    from mnistref.export import export as write

    emit(write(path, output, to, splits))
