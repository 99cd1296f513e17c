"""Requests of users, and the plan of a data set: a checked request with its loaded sources."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnistref.common.errors import DataProblemError, UsageProblemError, did_you_mean
from mnistref.common.text_table import escaped
from mnistref.generation.shard_worker import require_room
from mnistref.metadata.credits import LICENCES
from mnistref.sources.digit_check import check_digit_images
from mnistref.sources.digits import NAMES, Digits, load_digits, require_digit_source
from mnistref.sources.photos import PhotoList, list_photos, require_photo_source
from mnistref.spec import DISJOINT, POOLS, DatasetSpec, VariantSpec
from mnistref.spec_records import RequestRecord
from mnistref.storage.manifest import Manifest
from mnistref.storage.manifest_schema import MAX_COUNT
from mnistref.storage.schema import SHARD_IMAGES
from mnistref.storage.source import Source, SourceChoices
from mnistref.variants import change_law, find_changes, get_variant

log = logging.getLogger("mnistref")

PAPER_SIZES = {"train": 30_000, "val": 10_000, "test": 10_000}


@dataclass(frozen=True)
class Request:
    """What a user requests.

    Attributes:
        root: folder of data sets (`datasets/`) and sources (`raw/`).
        sizes: images per split; a missing split of the variant has the size of the papers, see `PAPER_SIZES`.
        skip_bad: leave out photos that cannot be used.
        any_digits: accept digits that fail the digit check.
        keep_copies: keep smaller or recompressed copies of photos even if the splits are disjoint.
        scales, digits_per_image, canvas, distractors: replace those of the variant, see `change_law`; None for its own.
    """

    variant: str
    root: Path = Path("data_cache")
    seed: int = 0
    sizes: Mapping[str, int] | None = None
    digits: str = "mnist"
    backgrounds: str = "builtin"
    pool: str = DISJOINT
    skip_bad: bool = False
    any_digits: bool = False
    keep_copies: bool = False
    scales: Sequence[float] | None = None
    digits_per_image: Sequence[int] | None = None
    canvas: int | None = None
    distractors: int | None = None

    @property
    def raw(self) -> Path:
        """Absolute path of the folder of the sources, as workers need it."""
        return Path(self.root).absolute() / "raw"


def request_of(manifest: Manifest) -> RequestRecord:
    """Return the arguments of `Request`, except the root, that generate a data set again.

    A source that was a folder of the user is None.
    """

    def name(source: Source | None) -> str | None:
        return source.origin if source and source.origin in LICENCES else None

    record: RequestRecord = {
        "variant": manifest.variant.name,
        "seed": manifest.spec["seed"],
        "sizes": dict(manifest.spec["sizes"]),
        "digits": name(manifest.digits),
        "backgrounds": name(manifest.backgrounds) if manifest.backgrounds else Request.backgrounds,
        "pool": manifest.spec["pool"],
    }
    if manifest.spec.get("any_digits"):
        record["any_digits"] = True
    if manifest.choices.skip_bad:
        record["skip_bad"] = True
    if manifest.choices.keep_copies:
        record["keep_copies"] = True
    return {**record, **find_changes(manifest.variant)}


@dataclass(frozen=True)
class Plan:
    """A request with its loaded sources."""

    request: Request
    spec: DatasetSpec
    digits: Digits
    photos: PhotoList | None

    @property
    def folder(self) -> Path:
        """The folder of the data set."""
        return Path(self.request.root) / "datasets" / self.spec.folder_name

    @property
    def choices(self) -> SourceChoices:
        """How the sources are used."""
        request, is_disjoint = self.request, self.request.pool == DISJOINT
        may_skip = self.photos is not None and request.backgrounds != Request.backgrounds
        return SourceChoices(
            skip_bad=may_skip and request.skip_bad,
            keep_copies=may_skip and request.keep_copies and is_disjoint,
            shared_digits=self.digits.shared if is_disjoint else 0,
        )

    @property
    def images(self) -> int:
        """Number of images in all splits."""
        return sum(size for _, size in self.spec.sizes)

    @property
    def bytes(self) -> int:
        """Disk space of the data set in bytes, slightly overestimated."""
        return self.images * (self.spec.variant.canvas**2 * 3 + 2048)

    @property
    def bank_bytes(self) -> int:
        """Disk space of the prepared photos in bytes.

        This assumes an aspect ratio of 4 : 3 and a short side of 1.5 times the canvas.
        """
        views = len(self.photos.paths) * self.photos.views if self.photos else 0
        return views * 9 * self.spec.variant.canvas**2

    @property
    def shard_bytes(self) -> int:
        """Memory of the arrays of one shard, in bytes."""
        return SHARD_IMAGES * (self.spec.variant.canvas**2 * 4 + 256)


def plan(request: Request) -> Plan:
    """Check a request and load its sources. Only the cache of the sources in `raw/` is written.

    Raises:
        UsageProblemError: the request is invalid.
        DataProblemError: a source is damaged, missing or unusable.
    """
    variant, sizes = resolve_request(request)
    raw = request.raw
    digits = load_digits(absolute_source(request.digits), raw)
    odd = _are_digits_odd(digits, request)
    if variant != get_variant(variant.name):
        require_room(variant, absolute_source(request.digits), digits, raw)
    photos = _list_photos(request, raw) if variant.background == "photo" else None
    if not photos and request.backgrounds != Request.backgrounds:
        log.info("%s has no photos; --backgrounds is ignored", variant.name)
    of_photos = photos.sha256 if photos else None
    spec = DatasetSpec(
        variant=variant,
        seed=request.seed,
        sizes=sizes,
        digits_sha256=digits.sha256,
        photos_sha256=of_photos,
        pool=request.pool,
        any_digits=odd,
    )
    return Plan(request, spec, digits, photos)


def _are_digits_odd(digits: Digits, request: Request) -> bool:
    """Return whether the digits fail the digit check; raise DataProblemError unless the request accepts that."""
    wrong = (
        check_digit_images(digits) if digits.kind == "folder" else None
    )  # the other sources are checked by their SHA-256
    if wrong and not request.any_digits:
        anyway = "`mnistref generate … --any-digits` accepts them (to train on them, give the data set with --data)"
        raise DataProblemError(f"{escaped(request.digits)}: {wrong}; {anyway}")
    if wrong:
        log.info("%s: %s; accepted (--any-digits)", digits.name, wrong)
    return bool(wrong)


def _list_photos(request: Request, raw: Path) -> PhotoList:
    """Return the photos of a request; if the splits are disjoint, without copies of the same picture."""
    skip_copies = request.pool == DISJOINT and not request.keep_copies
    return list_photos(request.backgrounds, raw, request.skip_bad, skip_copies)


def resolve_request(request: Request) -> tuple[VariantSpec, tuple[tuple[str, int], ...]]:
    """Return the variant and the size of each split; raise UsageProblemError if the request is invalid."""
    law = (request.scales, request.digits_per_image, request.canvas, request.distractors)
    variant = change_law(get_variant(request.variant), *law)
    if type(request.seed) is not int or not 0 <= request.seed < 2**63:
        raise UsageProblemError(f"seed {request.seed}: give a whole number from 0 to 2**63 − 1")
    if request.pool not in POOLS:
        raise UsageProblemError(f"unknown pool {request.pool!r}: {did_you_mean(request.pool, POOLS)}")
    require_digit_source(request.digits)
    if variant.background == "photo":
        require_photo_source(request.backgrounds)
    return variant, _resolve_sizes(variant, request.sizes)


def _resolve_sizes(variant: VariantSpec, requested: Mapping[str, int] | None) -> tuple[tuple[str, int], ...]:
    """Return the size of each split of the variant."""
    for split, size in (requested or {}).items():
        if split not in variant.splits:
            raise UsageProblemError(f"{variant.name} has no {split} split: {variant.note}")
        if type(size) is not int:
            raise UsageProblemError(f"{size!r} {split} images: give a whole number")
        if not 1 <= size <= MAX_COUNT:
            raise UsageProblemError(
                f"{size} {split} images: give {'1 or more' if size < 1 else f'{MAX_COUNT:,} or fewer'}"
            )
    return tuple((split, (requested or {}).get(split, PAPER_SIZES[split])) for split in variant.splits)


def absolute_source(digits: str) -> str:
    """Return a digit source that does not depend on the working directory."""
    return str(Path(digits).absolute()) if Path(digits).is_dir() and digits not in NAMES else digits
