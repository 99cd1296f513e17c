"""The registry of variants. One entry here adds a variant to every command, test and table. Pure.

PAN is Seo et al., "Progressive Attention Networks for Visual Attribute Prediction" (BMVC 2018); ARNN is Khandelwal and
Sigal, "AttentionRNN: A Structured Spatial Attention Mechanism" (ICCV 2019).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from mnistref.common.errors import UsageProblemError, did_you_mean
from mnistref.scales import side_at
from mnistref.spec import GLYPH, MAX_CANVAS, MAX_DIGITS, MAX_DISTRACTORS, MAX_SCALE, PATCH, VariantSpec


class _Expected(TypedDict):
    """The expected statistics of a law, see `VariantSpec`."""

    expected_shares: tuple[float, ...]
    expected_ink: float


class _Small(_Expected):
    """The fields of small variants for first steps."""

    digits: tuple[int, int]
    scales: tuple[float, float]
    first_steps: bool
    note: str


# Rejection sampling has no closed form, so the expected values were counted over 400,000 images
# (200,000 at 224 px) with the training digits of MNIST.
_AT_100: dict[str, Any] = {"expected_shares": (0.708, 0.173, 0.056, 0.034, 0.029), "expected_ink": 0.0234}
_AT_224: dict[str, Any] = {"expected_shares": (0.301, 0.247, 0.194, 0.147, 0.111), "expected_ink": 0.01056}
# A single digit is never rejected, so its scale is uniform. The ink was counted over 200,000 images.
_ONE_AT_100: _Expected = {"expected_shares": (0.2, 0.2, 0.2, 0.2, 0.2), "expected_ink": 0.0701}
_SMALL: _Small = {
    "digits": (2, 4),
    "scales": (0.5, 1.0),
    "first_steps": True,
    "note": "for first steps and tests: there are no published results to compare its numbers with",
    "expected_shares": (1.0, 0.0, 0.0, 0.0, 0.0),
    "expected_ink": 0.0465,
}

_ENTRIES = (
    VariantSpec("mref", "coloured digits on black; what colour is digit q?", "PAN §4.1", 100, "black", **_AT_100),
    VariantSpec(
        "mdist", "as mref, over 17 digit-patch distractors", "PAN §4.1", 100, "distractors", distractors=17, **_AT_100
    ),
    VariantSpec("mbg", "as mref, on natural photos", "PAN §4.1", 100, "photo", **_AT_100),
    VariantSpec(
        "mbginv", "as mbg, inverse: which digit has colour q?", "ARNN §4.1", 100, "photo", query="color", **_AT_100
    ),
    VariantSpec("mbgb", "as mbg, on 224-px images", "ARNN §4.1", 224, "photo", **_AT_224),
    VariantSpec(
        "mbgmulti",
        "as mbg, the queried digit occurs 2–3 times in different colours",
        "ARNN Fig. 6a",
        100,
        "photo",
        repeats=(2, 3),
        splits=("test",),
        note="a test-only set: there is no single right answer",
        **_AT_100,
    ),
    VariantSpec(
        "mone",
        "one coloured digit on a natural photo, no question; which digit is it?",
        "none",
        100,
        "photo",
        query="none",
        digits=(1, 1),
        **_ONE_AT_100,
    ),
    VariantSpec("mini", "2–4 small digits on a black 48-px canvas", "none", 48, "black", **_SMALL),
    VariantSpec("miniinv", "as mini, inverse: which digit has colour q?", "none", 48, "black", query="color", **_SMALL),
)

VARIANTS: dict[str, VariantSpec] = {v.name: v for v in _ENTRIES}

FIRST_STEPS = tuple(name for name, variant in VARIANTS.items() if variant.first_steps)
"""Variants for first steps and tests."""
FIRST_STEPS_SIZES: dict[str, int] = {"train": 8_000, "val": 1_000, "test": 2_000}
"""Images of each split of a small data set."""
FIRST_STEPS_DIGITS = "mnist5k"
"""A source of digits that needs no download."""

_CHANGED = "changed, so its law is not the papers'"


def get_variant(name: str) -> VariantSpec:
    """Return the variant with this name.

    Raises:
        UsageProblemError: there is no such variant. The message lists the known names.
    """
    if name not in VARIANTS:
        raise UsageProblemError(f"unknown variant {name!r}: {did_you_mean(name, list(VARIANTS))}")
    return VARIANTS[name]


def change_law(
    variant: VariantSpec,
    scales: Sequence[float] | None = None,
    digits: Sequence[int] | None = None,
    canvas: int | None = None,
    distractors: int | None = None,
) -> VariantSpec:
    """Return a variant with other ranges; the variant itself if all are its own.

    The note of the result says which range differs. Expected statistics of another law are unknown.

    Args:
        variant: the variant.
        scales: lowest and highest scale; None for the variant's.
        digits: lowest and highest number of digits per image.
        canvas: side of the images, in pixels.
        distractors: number of distractors per image; not over a black background.

    Raises:
        UsageProblemError: no image has these values.
    """
    small, large = (float(s) for s in _pair("scales", variant.scales if scales is None else scales, (int, float)))
    fewest, most = _pair("digits per image", variant.digits if digits is None else digits, (int,))
    side = variant.canvas if canvas is None else canvas
    patches = variant.distractors if distractors is None else distractors
    _require_distractors(variant, patches)
    if not (math.isfinite(small) and math.isfinite(large) and 0 < small <= large <= MAX_SCALE):
        raise UsageProblemError(f"scales {small:g},{large:g}: give LOW,HIGH with 0 < LOW ≤ HIGH ≤ {MAX_SCALE}")
    if side_at(PATCH if patches else GLYPH, small) < 1:
        what = "distractors" if patches else "digits"
        raise UsageProblemError(f"scale {small:g}: {what} are smaller than a pixel; give a larger lowest scale")
    if not 1 <= fewest <= most <= MAX_DIGITS:
        raise UsageProblemError(
            f"digits per image {fewest},{most}: give LOW,HIGH with 1 ≤ LOW ≤ HIGH ≤ {MAX_DIGITS}, as classes differ"
        )
    if not variant.asks and (fewest, most) != (1, 1):
        raise UsageProblemError(
            f"digits per image {fewest},{most}: {variant.name} has no question to tell several digits apart; give 1,1"
        )
    if fewest < variant.repeats[1]:
        raise UsageProblemError(
            f"digits per image {fewest},{most}: {variant.name} repeats a class up to {variant.repeats[1]} times; "
            f"give {variant.repeats[1]} or more"
        )
    if type(side) is not int or not 1 <= side <= MAX_CANVAS:
        raise UsageProblemError(f"canvas {side}: give a whole number of pixels from 1 to {MAX_CANVAS}")
    if (largest := side_at(GLYPH, large)) > side:
        raise UsageProblemError(
            f"canvas {side}: a digit at scale {large:g} has {largest} px; give a larger canvas, or smaller scales"
        )
    changed = replace(
        variant,
        scales=(small, large),
        digits=(fewest, most),
        canvas=side,
        distractors=patches,
        expected_shares=(),
        expected_ink=0.0,
    )
    if changed.law() == variant.law():
        return variant
    note = f"{_CHANGED}: {'; '.join(_differences(variant, changed))}"
    return replace(changed, note=f"{variant.note}; {note}" if variant.note else note)


def _require_distractors(variant: VariantSpec, distractors: int) -> None:
    """Raise UsageProblemError unless images of a variant can have this number of distractors."""
    if type(distractors) is not int or not 0 <= distractors <= MAX_DISTRACTORS:
        raise UsageProblemError(f"distractors {distractors}: give a whole number from 0 to {MAX_DISTRACTORS}")
    if distractors and variant.background == "black":
        raise UsageProblemError(
            f"distractors {distractors}: {variant.name} has a black background; use mdist, or a variant with photos"
        )


def is_changed(note: object) -> bool:
    """Return whether the note of a data set or a run says that its law was changed, see `change_law`."""
    return isinstance(note, str) and _CHANGED in note


def variant_of_request(request: Mapping[str, Any]) -> VariantSpec:
    """Return the law of a `mnistref.spec_records.RequestRecord`; raise UsageProblemError if there is none."""
    return change_law(
        get_variant(request["variant"]),
        request.get("scales"),
        request.get("digits_per_image"),
        request.get("canvas"),
        request.get("distractors"),
    )


class LawChanges(TypedDict, total=False):
    """The ranges of a law that differ from those of its variant, as arguments of `mnistref.generate` and as JSON."""

    scales: list[float]
    digits_per_image: list[int]
    canvas: int
    distractors: int


def find_changes(law: VariantSpec) -> LawChanges:
    """Return the ranges that differ from those of the variant with the same name; {} if there is none."""
    usual, changes = VARIANTS.get(law.name, law), LawChanges()
    if law.scales != usual.scales:
        changes["scales"] = list(law.scales)
    if law.digits != usual.digits:
        changes["digits_per_image"] = list(law.digits)
    if law.canvas != usual.canvas:
        changes["canvas"] = law.canvas
    if law.distractors != usual.distractors:
        changes["distractors"] = law.distractors
    return changes


def options_of_changes(changes: Mapping[str, Any]) -> list[str]:
    """Return the options of `mnistref generate` for the ranges that differ, see `LawChanges`.

    Other entries are ignored.
    """
    options = []
    for name in LawChanges.__annotations__:
        if name in changes:
            value = changes[name]
            values = value if isinstance(value, list | tuple) else [value]
            options += [f"--{name.replace('_', '-')}", ",".join(map(_number_text, values))]
    return options


def _number_text(number: float) -> str:
    return repr(number).removesuffix(".0")


def _pair(what: str, values: Sequence[Any], kinds: tuple[type, ...]) -> tuple[Any, Any]:
    """Return two numbers; raise UsageProblemError if the values are something else."""
    is_pair = isinstance(values, list | tuple) and len(values) == 2 and all(type(value) in kinds for value in values)
    if not is_pair:
        numbers = "whole numbers" if float not in kinds else "numbers"
        raise UsageProblemError(f"{what} {values!r}: give two {numbers}, the lowest and the highest")
    return values[0], values[1]


def _differences(variant: VariantSpec, changed: VariantSpec) -> list[str]:
    """Return in words which ranges differ."""
    found = []
    if changed.scales != variant.scales:
        found.append(f"scale {range_text(changed.scales)} instead of {range_text(variant.scales)}")
    if changed.digits != variant.digits:
        found.append(f"digits per image {range_text(changed.digits)} instead of {range_text(variant.digits)}")
    if changed.canvas != variant.canvas:
        found.append(f"canvas {changed.canvas} px instead of {variant.canvas} px")
    if changed.distractors != variant.distractors:
        found.append(f"{changed.distractors} distractors instead of {variant.distractors}")
    return found


def range_text(bounds: Sequence[float]) -> str:
    """Return a range for people, such as "0.5–3", or "2" if both bounds are equal."""
    low, high = bounds
    return f"{_number_text(low)}–{_number_text(high)}" if low < high else _number_text(low)
