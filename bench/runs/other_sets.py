"""Other data sets that a run is tested on: where they are, how they differ, and which questions they share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from mnistref.common.errors import UsageProblemError, did_you_mean
from mnistref.dataset import Manifest, read_manifest, read_split, read_triples
from mnistref.generation.generate import Request, generate
from mnistref.variants import VARIANTS, get_variant, range_text


class Factors(TypedDict):
    """What a data set is made of, in which others may differ.

    `backgrounds` is None without photos. Early records lack `distractors`.
    """

    variant: str
    scales: list[float]
    digits_per_image: list[int]
    canvas: int
    distractors: NotRequired[int]
    seed: int
    digits: str
    backgrounds: str | None
    pool: str


FACTOR_WORDS = {
    "variant": "variant",
    "scales": "scale",
    "digits_per_image": "digits per image",
    "canvas": "canvas, px",
    "distractors": "distractors",
    "seed": "seed",
    "digits": "digits from",
    "backgrounds": "photos from",
    "pool": "pool",
}
"""Name of a factor → words for tables and axes."""


def factors_of(manifest: Manifest) -> Factors:
    """Return what a data set is made of."""
    law = manifest.variant
    return {
        "variant": law.name,
        "scales": list(law.scales),
        "digits_per_image": list(law.digits),
        "canvas": law.canvas,
        "distractors": law.distractors,
        "seed": manifest.spec["seed"],
        "digits": manifest.digits.name,
        "backgrounds": manifest.backgrounds.name if manifest.backgrounds else None,
        "pool": manifest.spec["pool"],
    }


def factor_text(value: object) -> str:
    """Return the value of a factor for people."""
    if isinstance(value, list):
        return range_text(value)
    return "none" if value is None else str(value)


def describe_difference(factors: Mapping[str, object], own: Mapping[str, object]) -> str:
    """Return in words which factors differ from those of the run's own data set; "" if none does."""
    return "; ".join(
        f"{words} {factor_text(factors[name])}"
        for name, words in FACTOR_WORDS.items()
        if name in own and name in factors and factors[name] != own[name]
    )


def find_other_set(name: str, root: Path, trained: str, request: object) -> Path:
    """Return the folder of a data set.

    Args:
        name: a folder, the name of a variant, or the name or the id of a data set in `root`.
        root: folder of all data.
        trained: the variant that the network was trained on.
        request: how the run's own data set is generated, see `mnistref.generation.generate.request_of`, not validated.
            The data set of a variant has the same seed, sizes and sources. It is generated if it is missing.

    Raises:
        UsageProblemError: there is no such data set, the variant has another task, or the request does not name the
            sources.
    """
    if name in VARIANTS:
        if VARIANTS[name].query != get_variant(trained).query:
            raise UsageProblemError(f"{name}: another task than that of {trained}, on which the network was trained")
        return _generate_variant(name, root, request)
    if Path(name).is_dir():
        return Path(name).absolute()
    stored = root / "datasets"
    for folder in (stored / name, *sorted(stored.glob(f"*-{name}") if name.isalnum() else ())):
        if folder.is_dir():
            return folder.absolute()
    raise UsageProblemError(
        f"{name!r}: no folder, no data set in {stored}, and no variant; {did_you_mean(name, list(VARIANTS))}"
    )


def _generate_variant(name: str, root: Path, request: object) -> Path:
    """Generate the data set of a variant like the run's own data set."""
    known: Mapping[str, Any] = request if isinstance(request, dict) else {}
    if known.get("digits") is None or (VARIANTS[name].background == "photo" and known.get("backgrounds") is None):
        raise UsageProblemError(
            f"{name}: the record does not name the digits and photos of the run's data set; give the folder of a data "
            "set"
        )
    splits = VARIANTS[name].splits
    try:
        sizes = {split: int(size) for split, size in known["sizes"].items() if split in splits}
        kept = ("seed", "digits", "backgrounds", "pool", "any_digits", "skip_bad", "keep_copies")
        changes = {key: known[key] for key in kept if key in known}
        own = Request(name, root, sizes=sizes, **changes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageProblemError(
            f"{name}: the record of the run's data set is damaged; give the folder of a data set"
        ) from error
    return generate(own)


def count_shared_questions(own: Path, other: Path, queries: str, most: int) -> int:
    """Return how many of the first test questions of two data sets are the same question about the same digits.

    Two images have the same digits if the classes and colours of all slots are equal; sizes, places, shapes and
    backgrounds may differ.

    Args:
        own: a data set.
        other: another one.
        queries: which questions are asked.
        most: number of questions to compare.

    Returns:
        `most`, or fewer if a data set has fewer; 0 if any of these differs.
    """
    if read_manifest(own).variant.query != read_manifest(other).variant.query:
        return 0
    first, second = (read_triples(folder, "test", queries) for folder in (own, other))
    number = min(len(first.image), len(second.image), most)
    if not number or any((a[:number] != b[:number]).any() for a, b in zip(first, second, strict=True)):
        return 0
    images = int(first.image[:number].max()) + 1
    digits = [read_split(folder, "test", "digit_class", "digit_color") for folder in (own, other)]
    are_same = all(np.array_equal(digits[0][name][:images], digits[1][name][:images]) for name in digits[0])
    return number if are_same else 0
