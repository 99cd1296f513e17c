"""Specifications: the sampling law of a variant, and the full specification of a data set.

Pure. Both are frozen. A data set is identified by the hash of its canonical JSON: equal specifications give equal
data sets and the same `spec_id`.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mnistref.common.errors import UsageProblemError
from mnistref.scales import side_at
from mnistref.spec_records import LawRecord, SpecRecord

LAW_VERSION = 1
SPLITS = ("train", "val", "test")
DISJOINT, POOLED = POOLS = ("disjoint", "pooled")
"""`disjoint`: no digit or photo is in two splits. `pooled`: all splits share all digits and photos."""
BACKGROUNDS = {"black": "black", "distractors": "black over patches of other digits", "photo": "a natural photo"}
"""Kind of background → words for it in `VariantSpec.description`."""
NO_QUERY = "none"
QUERIES = ("class", "color", NO_QUERY)
"""What a query names.

- class: the label is the colour
- color: the label is the class
- none: there is no query. An image has one digit, and the label is its class
"""
UNITS = ("one", "all", "author")
"""How questions are taken from a split.

- one: each image with its own query
- all: every eligible digit of every image
- author: the first N questions of `all`, as in the program of the PAN authors
"""
VARIANT_NAME = "[a-z0-9_-]{1,64}"  # regular expression
MAX_JITTER = 255
MAX_DIGITS = 9
MAX_SCALE = 8
"""Largest scale: up to it, multiples of 2⁻²¹ are exact in float32."""
MAX_STORED = 2**15 - 1
"""Largest canvas and number of distractors of a law. Shards store positions in 16 bits."""
MAX_DISTRACTORS, MAX_CANVAS = 1000, 1024
"""Largest number of distractors and largest canvas of a request. A shard of 1,000 images of 1024 px has 3 GB."""
CLASSES = 10
GLYPH, PATCH = 28, 5
"""Side of a digit and of a distractor patch at scale 1 in pixels, for every canvas size."""
SCALE_BINS = ((0.5, 1.0), (1.0, 1.5), (1.5, 2.0), (2.0, 2.5), (2.5, 3.0))
"""Bins of the digit scale, as in Table 2 of the AttentionRNN paper. Bins are half-open, the last one is closed."""
SCALE_BIN_NAMES = tuple(f"{lo}_{hi}" for lo, hi in SCALE_BINS)

COLORS: dict[str, tuple[int, int, int]] = {
    "green": (16, 166, 81),
    "yellow": (255, 241, 78),
    "white": (224, 224, 224),
    "red": (146, 16, 16),
    "blue": (16, 98, 192),
}
"""Reference RGB value of each colour, in the order of the labels."""


def _is_integer(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high  # excludes bool


def _is_range(value: object, most: float, kinds: tuple[type, ...] = (int,)) -> bool:
    """Return whether a value is a tuple of two numbers of these types, 0 < first ≤ second ≤ most."""
    if not isinstance(value, tuple) or len(value) != 2 or not all(type(number) in kinds for number in value):
        return False
    return bool(0 < value[0] <= value[1] <= most)


def canonical_json(value: object) -> str:
    """Return the JSON text of a value that is used for hashing: sorted keys, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class VariantSpec:
    """The sampling law of one variant, with its description and the expected statistics.

    Attributes:
        name: name in the registry and in commands.
        summary: half a sentence about the variant, for lists.
        paper: paper and section that define it; "none" for a variant of this project.
        canvas: side of the square image, in pixels.
        background: a key of `BACKGROUNDS`.
        query: one of `QUERIES`.
        digits: inclusive range of the number of digits per image, 1 … 9; (1, 1) without a query.
        scales: range of the scale, a factor on the 28-pixel glyph, above 0 and at most 8.
        repeats: inclusive range of how often the queried class occurs in an image, 1 … 5.
        distractors: number of distractor patches per image; 0 if `background` is `black`.
        jitter: standard deviation of the colour noise, 0 … 255, in units of a colour channel.
        splits: splits that can be generated.
        note: what a reader of any number on this variant should know; empty if there is nothing.
        first_steps: whether the variant is for first steps and tests, with small data sets by default.
        expected_shares: expected share of digits in each of `SCALE_BINS`, for `mnistref stats`.
        expected_ink: expected mean ink of a digit, as a fraction of the canvas.

    Raises:
        UsageProblemError: no image can have such values. The message has the field, its value and the rule.
    """

    name: str
    summary: str
    paper: str
    canvas: int
    background: str
    query: str = "class"
    digits: tuple[int, int] = (5, 9)
    scales: tuple[float, float] = (0.5, 3.0)
    repeats: tuple[int, int] = (1, 1)
    distractors: int = 0
    jitter: int = 10
    splits: tuple[str, ...] = SPLITS
    note: str = ""
    first_steps: bool = False
    expected_shares: tuple[float, ...] = ()
    expected_ink: float = 0.0

    def __post_init__(self) -> None:
        """Raise UsageProblemError unless images can have these values."""
        for field, is_valid, rule in self._rules():
            if not is_valid:
                raise UsageProblemError(f"variant {self.name}: {field} is {getattr(self, field)!r}, must be {rule}")

    def _rules(self) -> Iterator[tuple[str, bool, str]]:
        """Yield fields, whether the value is valid, and the rule in words. A rule holds if those before it hold."""
        yield "canvas", _is_integer(self.canvas, 1, MAX_STORED), f"an integer from 1 to {MAX_STORED}"
        splits_valid = isinstance(self.splits, tuple) and list(self.splits) == [s for s in SPLITS if s in self.splits]
        yield "splits", splits_valid and len(self.splits) > 0, f"one or more of {', '.join(SPLITS)}, in this order"
        yield from self._law_rules()

    def _law_rules(self) -> Iterator[tuple[str, bool, str]]:
        """Yield those of `_rules` that are about the sampling law and its expected statistics."""
        is_name = isinstance(self.name, str) and bool(re.fullmatch(VARIANT_NAME, self.name))
        yield "name", is_name, "1 to 64 of the characters a–z, 0–9, _ and -"
        for field, known in (("background", tuple(BACKGROUNDS)), ("query", QUERIES)):
            yield field, getattr(self, field) in known, f"one of {', '.join(known)}"
        most = len(COLORS)  # digits of the repeated class have different colours
        yield "digits", _is_range(self.digits, MAX_DIGITS), f"two integers LOW ≤ HIGH from 1 to {MAX_DIGITS}"
        yield "repeats", _is_range(self.repeats, most), f"two integers LOW ≤ HIGH from 1 to {most}"
        yield "digits", self.asks or self.digits == (1, 1), "(1, 1) without a query"
        yield "repeats", self.repeats[1] <= self.digits[0], f"at most {self.digits[0]}, the smallest number of digits"
        yield "jitter", _is_integer(self.jitter, 0, MAX_JITTER), f"an integer from 0 to {MAX_JITTER}"
        yield "distractors", _is_integer(self.distractors, 0, MAX_STORED), f"an integer from 0 to {MAX_STORED}"
        yield "distractors", not self.distractors or self.background != "black", "0 with background 'black'"
        rule = f"two numbers LOW ≤ HIGH above 0, at most {MAX_SCALE}"
        yield "scales", _is_range(self.scales, MAX_SCALE, (int, float)), rule
        smallest, largest = map(side_at, (PATCH if self.distractors else GLYPH, GLYPH), self.scales)
        yield "scales", smallest >= 1, "larger, because digits or distractors are smaller than a pixel"
        yield "canvas", largest <= self.canvas, f"{largest} or more, the side of the largest digit"
        shares, bins = self.expected_shares, len(SCALE_BINS)
        shares_valid = not shares or (len(shares) == bins and min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6)
        yield "expected_shares", shares_valid, f"{bins} shares with the sum 1, or none"
        yield "expected_ink", 0 <= self.expected_ink <= 1, "a share from 0 to 1"

    @property
    def asks(self) -> bool:
        """Whether an image comes with a question."""
        return self.query != NO_QUERY

    @property
    def classes(self) -> int:
        """Number of labels."""
        return len(self.label_names)

    @property
    def queries(self) -> int:
        """Number of different queries; 0 if there is none."""
        return len(self.query_names)

    @property
    def trainable(self) -> bool:
        """Whether the variant has a training, a validation and a test split."""
        return set(self.splits) == set(SPLITS)

    @property
    def query_names(self) -> tuple[str, ...]:
        """Name of each query, in the order of the query numbers."""
        if not self.asks:
            return ()
        return tuple(map(str, range(CLASSES))) if self.query == "class" else tuple(COLORS)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, in the order of the label numbers."""
        return tuple(COLORS) if self.query == "class" else tuple(map(str, range(CLASSES)))

    @property
    def label_noun(self) -> str:
        """What a label is, in one word."""
        return "colour" if self.query == "class" else "digit"

    @property
    def target_noun(self) -> str:
        """What the mask of a question covers, in words."""
        return "queried digit" if self.asks else "digit"

    @property
    def values_text(self) -> str:
        """The values of queries and labels, as half a sentence."""
        labels = ", ".join(self.label_names)
        if not self.asks:
            return f"There is no query; the label is one of {labels}"
        return f"A query is one of {', '.join(self.query_names)}; its label is one of {labels}"

    @property
    def description(self) -> str:
        """One sentence about the images and the question, for readers who know no other variant."""
        if not self.asks:
            ground = BACKGROUNDS[self.background] + " with patches of other digits" * bool(self.distractors)
            return f"Images of one coloured digit on {ground}, in different sizes. The label is the digit's class."
        low, high = self.digits
        number = f"{low}–{high} coloured digits" if low < high else f"{low} coloured digit{'s' * (low > 1)}"
        asks = "what colour is the digit q?" if self.query == "class" else "which digit has the colour q?"
        about = "one of them"
        if self.repeats[1] > 1:
            about, asks = "those of one class", "which colours have the digits q?"
        return (
            f"Images of {number} of different sizes on {BACKGROUNDS[self.background]}, each with a "
            f"question about {about}: {asks}"
        )

    def law(self) -> LawRecord:
        """Return the fields that determine the content of the images."""
        return {
            "canvas": self.canvas,
            "background": self.background,
            "query": self.query,
            "digits": self.digits,
            "scales": self.scales,
            "repeats": self.repeats,
            "distractors": self.distractors,
            "jitter": self.jitter,
        }


@dataclass(frozen=True)
class DatasetSpec:
    """Everything that determines the content of a data set. Sources are identified by content, not by path."""

    variant: VariantSpec
    seed: int
    sizes: tuple[tuple[str, int], ...]  # (split, images)
    digits_sha256: str
    photos_sha256: str | None  # digest of the sorted list of the photos' SHA-256; None without photos
    pool: str  # one of POOLS
    any_digits: bool = False  # the digits failed the digit check and were accepted with --any-digits

    def as_dict(self) -> SpecRecord:
        """Return the specification as a JSON object."""
        record: SpecRecord = {
            "law_version": LAW_VERSION,
            "variant": self.variant.name,
            "law": self.variant.law(),
            "seed": self.seed,
            "sizes": dict(self.sizes),
            "digits": self.digits_sha256,
            "photos": self.photos_sha256,
            "pool": self.pool,
        }
        if self.any_digits:
            record["any_digits"] = True
        return record

    @property
    def spec_id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()[:12]

    @property
    def folder_name(self) -> str:
        """Name of the folder of the data set."""
        return f"{self.variant.name}-{self.spec_id}"
