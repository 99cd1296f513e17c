"""Functions of the package `mnistref`: `generate` makes a data set, `load` opens one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import numpy as np

from mnistref.common.errors import UsageProblemError, did_you_mean
from mnistref.common.whole_number import whole_number
from mnistref.dataset import MnistRef
from mnistref.generation.generate import Request
from mnistref.generation.generate import generate as generate_data_set
from mnistref.spec import DISJOINT, SPLITS
from mnistref.variants import FIRST_STEPS, FIRST_STEPS_DIGITS, FIRST_STEPS_SIZES, VARIANTS


class GenerateOptions(TypedDict, total=False):
    """The keyword arguments of `generate`."""

    seed: int
    train: int | None
    val: int | None
    test: int | None
    digits: str | Path
    backgrounds: str | Path
    pool: str
    skip_bad: bool
    any_digits: bool
    keep_copies: bool
    workers: int | None
    scheduler: str | None
    scales: Sequence[float] | None
    digits_per_image: Sequence[int] | None
    canvas: int | None
    distractors: int | None


def generate(
    variant: str,
    root: str | Path = "data_cache",
    *,
    seed: int = 0,
    train: int | None = None,
    val: int | None = None,
    test: int | None = None,
    digits: str | Path = "mnist",
    backgrounds: str | Path = "builtin",
    pool: str = DISJOINT,
    skip_bad: bool = False,
    any_digits: bool = False,
    keep_copies: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    scales: Sequence[float] | None = None,
    digits_per_image: Sequence[int] | None = None,
    canvas: int | None = None,
    distractors: int | None = None,
) -> Path:
    """Generate a data set, and return its folder. Same as the command `mnistref generate`, with the same defaults.

    A finished data set is returned unchanged. An interrupted generation is resumed.

    Args:
        variant: name of a variant, see `mnistref list`.
        root: folder of data sets and sources.
        seed: seed of all random draws, 0 or more.
        train: number of training images; 30,000 by default.
        val: number of validation images; 10,000 by default.
        test: number of test images; 10,000 by default.
        digits: "mnist", "mnist5k", or a folder of IDX files.
        backgrounds: "builtin", "sun397", or a folder of images.
        pool: "disjoint": no digit or photo is in two splits; "pooled": all splits share them.
        skip_bad: leave out unusable photos.
        any_digits: accept a folder of digits that fail the digit check.
        keep_copies: keep photos that are smaller or recompressed copies of others.
        workers: number of workers; by default one per processor, but no more than have 600 MB of shards in progress,
            which is 2 for images of 224 pixels.
        scheduler: address of a Dask scheduler whose workers are used, such as "tcp://host:port".
        scales: lowest and highest scale of a digit, 8 at most; by default those of the variant. With this or one of the
            following arguments, the law is not that of the papers, and the data set has a note that says so.
        digits_per_image: lowest and highest number of digits in an image, 1 … 9; by default those of the variant.
        canvas: side of the images in pixels, 1 … 1,024; by default that of the variant.
        distractors: number of distractors in an image, 0 … 1,000; by default that of the variant. Variants with a black
            background have none.

    Raises:
        UsageProblemError: an argument is invalid, or so many digits do not fit on the canvas.
        DataProblemError: a source is damaged, missing or unusable.
        RunProblemError: workers died, or differ from this installation.
        OSError: the disk is full or cannot be written.
    """
    splits = (("train", train), ("val", val), ("test", test))
    sizes = {split: whole_number(split, n) for split, n in splits if n is not None}
    if workers is not None and (workers := whole_number("workers", workers)) < 1:
        raise UsageProblemError(f"workers {workers}: give 1 or more")
    request = Request(
        variant,
        root=Path(root),
        seed=whole_number("seed", seed),
        sizes=sizes,
        digits=str(digits),
        backgrounds=str(backgrounds),
        pool=pool,
        skip_bad=skip_bad,
        any_digits=any_digits,
        keep_copies=keep_copies,
        scales=_plain_numbers(scales),
        digits_per_image=_plain_numbers(digits_per_image),
        canvas=None if canvas is None else whole_number("canvas", canvas),
        distractors=None if distractors is None else whole_number("distractors", distractors),
    )
    return generate_data_set(request, workers, scheduler=scheduler)


def _plain_numbers(values: Any) -> Any:
    """Return an array or a sequence with NumPy's numbers as Python's, so that they are checked like these."""
    if isinstance(values, np.ndarray):
        return values.tolist()
    if isinstance(values, list | tuple):
        return [value.item() if isinstance(value, np.generic) else value for value in values]
    return values


def load(
    name_or_path: str | Path,
    split: str = "train",
    queries: str = "one",
    root: str | Path = "data_cache",
    *,
    transforms: Callable[[dict[str, Any]], Any] | None = None,
    transform: Callable[[Any], Any] | None = None,
    target_transform: Callable[[int], Any] | None = None,
    **options: Unpack[GenerateOptions],
) -> MnistRef:
    """Return a split of a data set. The data set of a variant is generated if it does not exist.

    Args:
        name_or_path: name of a variant, or the folder of a data set. A name of a variant is never a folder; write
            "./mini" for a folder.
        split: train, val or test.
        queries: "one" question per image, "all" of them, or "author", see `MnistRef`.
        root: folder of data sets and sources.
        transforms: see `MnistRef`.
        transform: see `MnistRef`.
        target_transform: see `MnistRef`.
        **options: arguments of `generate`, for a variant. The defaults are those of `generate`, but `mini` and
            `miniinv` have 8,000, 1,000 and 2,000 images of the digits `mnist5k`, as in `bench run --preset quick`:
            they need no download.

    Raises:
        UsageProblemError: there is no such variant or data set; the data set has no such split; an argument is invalid;
            or `options` are given for a folder.
        DataProblemError: a source or a file of the data set is damaged or missing.
    """
    folder = find_data_set(name_or_path, root, **options)
    return MnistRef(folder, split, queries, transforms, transform=transform, target_transform=target_transform)


def find_data_set(
    name_or_path: str | Path, root: str | Path = "data_cache", **options: Unpack[GenerateOptions]
) -> Path:
    """Return the folder of the data set that `load` reads. The arguments and errors are those of `load`."""
    if isinstance(name_or_path, str) and name_or_path in VARIANTS:
        return generate(name_or_path, root, **_complete(name_or_path, options))
    if not Path(name_or_path).is_dir():
        hint = did_you_mean(str(name_or_path), list(VARIANTS))
        raise UsageProblemError(f"{str(name_or_path)!r}: no variant, and no folder of a data set; {hint}")
    if options:
        raise UsageProblemError(f"{', '.join(options)}: only for a variant; {name_or_path} is a folder")
    return Path(name_or_path)


def _complete(variant: str, options: GenerateOptions) -> GenerateOptions:
    """Return the arguments of `generate` with the defaults of `load`."""
    if variant not in FIRST_STEPS:
        return options
    defaults: GenerateOptions = {
        "digits": FIRST_STEPS_DIGITS,
        "train": FIRST_STEPS_SIZES["train"],
        "val": FIRST_STEPS_SIZES["val"],
        "test": FIRST_STEPS_SIZES["test"],
    }
    given = {name: value for name, value in options.items() if value is not None or name not in SPLITS}
    return {**defaults, **cast(GenerateOptions, given)}
