"""Specifications: fields that the renderers cannot draw are refused when a variant is made."""

from dataclasses import replace
from typing import Any

import pytest

from mnistref.spec import BACKGROUNDS, QUERIES, VariantSpec
from mnistref.variants import VARIANTS

REFUSED = [
    ({"background": "stripes"}, "background is 'stripes', must be one of black, distractors, photo"),
    ({"background": ""}, "background is ''"),
    ({"query": "colour"}, "query is 'colour', must be one of class, color"),
    ({"jitter": "high"}, "jitter is 'high', must be an integer from 0 to 255"),
    *(({"jitter": value}, "jitter is") for value in (-1, 256, 1.5, True, None)),
    ({"background": "photo", "distractors": 17}, "distractors is 17, must be 0 with background 'photo'"),
    ({"background": "black", "distractors": 1}, "distractors is 1, must be 0 with background 'black'"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_fields_that_cannot_be_drawn_are_refused(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=f"^variant mine: {message}"):
        VariantSpec("mine", "", "none", 48, **{"background": "black", **fields})


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("jitter", [0, 255])
def test_known_backgrounds_and_queries_are_accepted_and_described(background, query, jitter):
    distractors = 17 if background == "distractors" else 0
    variant = replace(VARIANTS["mref"], background=background, query=query, jitter=jitter, distractors=distractors)
    assert BACKGROUNDS[background] in variant.description
    assert variant.law()["jitter"] == jitter
