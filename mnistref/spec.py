"""What decides a data set: the law of a variant, and the law plus sizes, seed and sources.

Frozen, pure, and hashed by canonical JSON: equal specs give equal data sets, and the same `spec_id`.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any

LAW_VERSION = 1
SPLITS = ("train", "val", "test")
POOLS = ("disjoint", "pooled")
"""Whether splits share digits and photos."""
MAX_DIGITS = 9
CLASSES = 10
GLYPH = 28
"""Side of a digit at scale 1, in pixels, on every canvas."""
PATCH = 5
"""Side of a distractor patch at scale 1, in pixels."""
SCALE_BINS = ((0.5, 1.0), (1.0, 1.5), (1.5, 2.0), (2.0, 2.5), (2.5, 3.0))
"""The bins of ARNN Table 2, half-open but for the last."""
SCALE_BIN_NAMES = tuple(f"{lo}_{hi}" for lo, hi in SCALE_BINS)

COLORS: dict[str, tuple[int, int, int]] = {
    "green": (16, 166, 81),
    "yellow": (255, 241, 78),
    "white": (224, 224, 224),
    "red": (146, 16, 16),
    "blue": (16, 98, 192),
}
"""Reference RGB of each colour, in label order."""


def canonical_json(value: Any) -> str:
    """The one way a value is written before it is hashed: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class VariantSpec:
    """The sampling law of one variant, and what people should know of it.

    `canvas` is the side of the square image in pixels, scales multiply the 28-px glyph, `repeats` is how often the
    queried class occurs (1, or an inclusive range). `expected_*` are the law's own values, for statistics: the share of
    digits in each of `SCALE_BINS`, and the mean ink of a digit as a fraction of the canvas.
    """

    name: str
    summary: str
    paper: str
    canvas: int
    background: str  # black | distractors | photo
    query: str = "class"  # class: the label is the colour; color: the label is the class
    digits: tuple[int, int] = (5, 9)
    scales: tuple[float, float] = (0.5, 3.0)
    repeats: tuple[int, int] = (1, 1)
    distractors: int = 0
    jitter: int = 10  # standard deviation of the colour noise, in units of 0..255
    splits: tuple[str, ...] = SPLITS
    note: str = ""
    expected_shares: tuple[float, ...] = ()
    expected_ink: float = 0.0

    LAW = ("canvas", "background", "query", "digits", "scales", "repeats", "distractors", "jitter")

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(COLORS) if self.query == "class" else CLASSES

    @property
    def queries(self) -> int:
        """How many different queries there are."""
        return CLASSES if self.query == "class" else len(COLORS)

    @property
    def trainable(self) -> bool:
        """Whether it has a training, a validation and a test split."""
        return set(self.splits) == set(SPLITS)

    @property
    def query_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(CLASSES))) if self.query == "class" else tuple(COLORS)

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(COLORS) if self.query == "class" else tuple(map(str, range(CLASSES)))

    @property
    def description(self) -> str:
        """What the images show and what is asked, for those who know no other variant."""
        low, high = self.digits
        grounds = {"black": "black", "distractors": "black over patches of other digits", "photo": "a natural photo"}
        asks = "what colour is the digit q?" if self.query == "class" else "which digit has the colour q?"
        about = "one of them"
        if self.repeats[1] > 1:
            about, asks = "those of one class", "which colours have the digits q?"
        return (
            f"Images of {low}–{high} coloured digits of different sizes on {grounds[self.background]}, each with a "
            f"question about {about}: {asks}"
        )

    def law(self) -> dict[str, Any]:
        """What of this decides the content of images, and nothing else."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in self.LAW}


@dataclass(frozen=True)
class DatasetSpec:
    """Everything that decides the content of a data set. Sources are named by their content, not by where they lie."""

    variant: VariantSpec
    seed: int
    sizes: tuple[tuple[str, int], ...]  # (split, images)
    digits_sha256: str
    photos_sha256: str | None  # of the sorted list of the photos' digests; None where no photo is needed
    pool: str  # disjoint | pooled
    any_digits: bool = False  # the digits do not look like digits, and were wanted all the same

    def as_dict(self) -> dict[str, Any]:
        return {
            "law_version": LAW_VERSION,
            "variant": self.variant.name,
            "law": self.variant.law(),
            "seed": self.seed,
            "sizes": dict(self.sizes),
            "digits": self.digits_sha256,
            "photos": self.photos_sha256,
            "pool": self.pool,
            **({"any_digits": True} if self.any_digits else {}),
        }

    @property
    def spec_id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()[:12]

    @property
    def folder_name(self) -> str:
        return f"{self.variant.name}-{self.spec_id}"
