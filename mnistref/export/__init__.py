"""Export a data set to the formats of other tools. One entry in `FORMATS` adds a format, and the tests follow.

Shards are converted one by one with a block of images in memory. The new folder is renamed when it is complete.
"""

import contextlib
import errno
import logging
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout
from tqdm import tqdm

from mnistref.common.atomic_files import exclusive_atomic_folder
from mnistref.common.child_process import ChildDiedError
from mnistref.common.console import log_once
from mnistref.common.errors import RunProblemError, UsageProblemError, did_you_mean
from mnistref.export import parquet, png, webdataset
from mnistref.export.rows import PICTURES, VALUES, Part
from mnistref.generation.executors import processes
from mnistref.metadata import card
from mnistref.storage.manifest import MANIFEST, Manifest, read_manifest
from mnistref.storage.schema import SHARD_IMAGES

log = logging.getLogger("mnistref")


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        write: writes one shard into the folder.
        files: pattern of the files of a split.
        layout: description for the card.
        require: raises UsageProblemError if a package is missing.
        finish: called once at the end with the folder and its splits.
    """

    name: str
    write: Callable[[Part, Path], None]
    files: str
    layout: str
    require: Callable[[], None] = lambda: None
    finish: Callable[[Path, list[str]], None] = lambda folder, splits: None


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("webdataset", webdataset.write, "{split}-*.tar", webdataset.LAYOUT),
        Format("parquet", parquet.write, "{split}-*.parquet", parquet.LAYOUT, require=parquet.require_pyarrow),
        Format("png", png.write, "{split}/**", png.LAYOUT, finish=png.finish),
    )
}


def export(folder: Path, output: Path, to: str, splits: Sequence[str] = (), workers: int | None = None) -> Path:
    """Write a data set, or some of its splits, in another format to a new folder, and return the folder.

    Args:
        folder: a data set made by `mnistref generate`.
        output: the new folder.
        to: a key of `FORMATS`.
        splits: the splits to export; by default all.
        workers: number of processes; by default one per processor, and at most one per full shard.

    Raises:
        UsageProblemError: there is no such format or split, or the folder exists.
        DataProblemError: a shard is damaged.
    """
    folder, output = Path(folder), Path(output)
    if to not in FORMATS:
        raise UsageProblemError(f"unknown format {to!r}: {did_you_mean(to, list(FORMATS))}")
    format, manifest = FORMATS[to], read_manifest(folder)
    format.require()
    wanted = set(splits or manifest.splits)
    for split in splits or ():
        manifest.require_split(split)
    chosen = [split for split in manifest.splits if split in wanted]
    _require_new_folder(output, folder)
    if manifest.variant.note:
        log_once(f"{manifest.variant.name} is {manifest.variant.note}")
    try:
        with exclusive_atomic_folder(output) as partial, _errors_name(output):
            _run(format, _parts(folder, manifest, chosen), partial, workers)
            format.finish(partial, chosen)
            shutil.copyfile(folder / MANIFEST, partial / MANIFEST)
            (partial / "README.md").write_text(_card(format, manifest, chosen), encoding="utf-8")
            _require_new_folder(output, folder)  # another process may have been first
    except Timeout as error:
        raise UsageProblemError(f"{output}: another export is writing it; wait, or give another folder") from error
    return output


@contextlib.contextmanager
def _errors_name(place: Path) -> Iterator[None]:
    """Add `place` to errors without a file name. Errors of pyarrow also lack a number."""
    try:
        yield
    except OSError as error:
        if error.filename:
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(place)) from error


def _write(write: Callable[[Part, Path], None], part: Part, folder: Path) -> None:
    with _errors_name(folder / part.stem):
        write(part, folder)


def _require_new_folder(output: Path, folder: Path) -> None:
    if output.exists():
        raise UsageProblemError(f"{output}: exists already; give a new folder, or remove it")
    if folder.resolve() in output.resolve().parents:
        raise UsageProblemError(f"{output}: lies in the data set; give a folder outside of it")


def _parts(folder: Path, manifest: Manifest, splits: list[str]) -> list[Part]:
    return [
        Part(folder, shard, manifest.variant, split, k * SHARD_IMAGES)
        for split in splits
        for k, shard in enumerate(manifest.splits[split])
    ]


def _run(format: Format, parts: list[Part], output: Path, workers: int | None) -> None:
    """Convert all shards in processes, since zlib holds the GIL, or in this process if there is little to do."""
    images = sum(part.shard.images for part in parts)
    workers = workers or max(1, min(os.cpu_count() or 1, images // SHARD_IMAGES))
    with tqdm(total=images, unit=" images", disable=None, smoothing=0.1) as bar:
        if workers == 1:
            for part in parts:
                _write(format.write, part, output)
                bar.update(part.shard.images)
            return
        try:
            with processes(workers) as pool:
                running = {pool.submit(_write, format.write, part, output): part for part in parts}
                for future in as_completed(running):
                    future.result()
                    bar.update(running[future].shard.images)
        except ChildDiedError as error:
            advice = error.advice("free some and run again")
            raise RunProblemError(f"a worker process died: {error}{advice}") from error


def _card(format: Format, manifest: Manifest, splits: list[str]) -> str:
    """Return the card of the export. Its front matter tells `datasets` which files belong to which split."""
    files = "".join(f"  - split: {split}\n    path: {format.files.format(split=split)}\n" for split in splits)
    first, pictures = splits[0], "\n".join(f"- `{name}`: {what}" for name, what in PICTURES.items())
    layout = format.layout.format(split=first, shards=len(manifest.splits[first]))
    text = f"{layout}\n\nPictures (PNG):\n\n{pictures}\n\nThe other fields:\n\n{card.fields_table(VALUES)}"
    only = "" if len(splits) == len(manifest.splits) else "".join(f" --split {split}" for split in splits)
    source = f"datasets/{shlex.quote(manifest.folder_name)}"
    commands = f"{card.command(manifest)}\nmnistref export data_cache/{source} --to {format.name}{only} -o DIR"
    title = f"{manifest.folder_name} ({format.name})"
    head = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    return head + card.page(manifest, title, splits, text, commands)
