"""The registry of variants. One entry here adds a variant to every command, test and table. Pure.

PAN is Seo et al., "Progressive Attention Networks for Visual Attribute Prediction" (BMVC 2018); ARNN is Khandelwal and
Sigal, "AttentionRNN: A Structured Spatial Attention Mechanism" (ICCV 2019).
"""

from typing import Any

from mnistref.common.errors import UsageProblemError, did_you_mean
from mnistref.spec import VariantSpec

# Rejection sampling has no closed form, so the expected values were counted over 400,000 images
# (200,000 at 224 px) with the training digits of MNIST.
_AT_100: dict[str, Any] = {"expected_shares": (0.708, 0.173, 0.056, 0.034, 0.029), "expected_ink": 0.0234}
_AT_224: dict[str, Any] = {"expected_shares": (0.301, 0.247, 0.194, 0.147, 0.111), "expected_ink": 0.01056}
_SMALL: dict[str, Any] = {
    "digits": (2, 4),
    "scales": (0.5, 1.0),
    "first_steps": True,
    "note": "for first steps and tests: its numbers compare with nothing published",
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


def get_variant(name: str) -> VariantSpec:
    """Return the variant with this name.

    Raises:
        UsageProblemError: there is no such variant. The message lists the known names.
    """
    if name not in VARIANTS:
        raise UsageProblemError(f"unknown variant {name!r}: {did_you_mean(name, list(VARIANTS))}")
    return VARIANTS[name]
