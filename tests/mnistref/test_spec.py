"""Specifications: refused fields of variants, and fingerprints equal to those of the stored cards of data sets."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from mnistref.common.errors import UsageProblemError
from mnistref.sources.photos import PhotoList
from mnistref.spec import BACKGROUNDS, QUERIES, DatasetSpec, VariantSpec
from mnistref.variants import VARIANTS, get_variant
from tests.helpers import TOP

REFUSED = [
    ({"background": "stripes"}, "background is 'stripes', must be one of black, distractors, photo"),
    ({"background": ""}, "background is ''"),
    ({"query": "colour"}, "query is 'colour', must be one of class, color, none"),
    ({"jitter": "high"}, "jitter is 'high', must be an integer from 0 to 255"),
    *(({"jitter": value}, "jitter is") for value in (-1, 256, 1.5, True, None)),
    ({"background": "black", "distractors": 1}, "distractors is 1, must be 0 with background 'black'"),
    ({"query": "none"}, r"digits is \(5, 9\), must be \(1, 1\) without a query"),
    ({"query": "none", "digits": (1, 2)}, "digits is"),
    ({"query": "none", "digits": (1, 1), "repeats": (1, 2)}, r"repeats is \(1, 2\), must be at most 1, the smallest"),
    *(
        ({"digits": value}, f"digits is {re.escape(repr(value))}, must be two integers LOW ≤ HIGH from 1 to 9")
        for value in ((12, 12), (0, 3), (5, 10), (4, 3), (1.0, 2), (True, 2), (5,), (1, 2, 3), [1, 2], 5, None)
    ),
    *(
        ({"repeats": value}, f"repeats is {re.escape(repr(value))}, must be two integers LOW ≤ HIGH from 1 to 5")
        for value in ((0, 1), (2, 1), (1, 6), (1, 1.0), "12")
    ),
    ({"repeats": (2, 3), "digits": (2, 9)}, "repeats is .*, must be at most 2, the smallest number of digits"),
    *(
        ({"scales": value}, "scales is .*, must be two numbers LOW ≤ HIGH above 0, at most 8")
        for value in ((0, 1), (-1, 1), (1, 0.5), (1, 8.1), (1, math.inf), (math.nan, 1), (0.5, math.nan), ("1", 2), 1.0)
    ),
    ({"scales": (0.03, 1)}, "scales is .*, must be larger, because digits or distractors are smaller than a pixel"),
    (
        {"background": "photo", "distractors": 1, "scales": (0.1, 1)},
        "scales is .*, must be larger, because digits or distractors are smaller than a pixel",
    ),
    ({"canvas": 83}, "canvas is 83, must be 84 or more, the side of the largest digit"),
    *(({"canvas": value}, "canvas is .*, must be an integer from 1 to 32767") for value in (0, -1, 2**15, 48.0, True)),
    *(
        ({"background": "photo", "distractors": value}, "distractors is .*, must be an integer from 0 to 32767")
        for value in (-1, 1.5, True, None, 2**15)
    ),
    *(
        ({"splits": value}, "splits is .*, must be one or more of train, val, test, in this order")
        for value in ((), ("train", "train"), ("test", "train"), ("dev",), "test", ["test"])
    ),
    *(
        ({"expected_shares": value}, "expected_shares is .*, must be 5 shares with the sum 1, or none")
        for value in ((1.0,), (0.5,) * 5, (-1.0, 2.0, 0.0, 0.0, 0.0))
    ),
    *(({"expected_ink": value}, "expected_ink is .*, must be a share from 0 to 1") for value in (-0.1, 1.1)),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_fields_that_cannot_be_drawn_are_refused(fields: dict[str, Any], message: str):
    with pytest.raises(UsageProblemError, match=f"^variant mine: {message}"):
        VariantSpec("mine", "", "none", **{"canvas": 100, "background": "black", **fields})
    with pytest.raises(UsageProblemError, match=f"^variant mref: {message}"):
        replace(VARIANTS["mref"], **{"background": "black", **fields})


@pytest.mark.parametrize("name", ["", "a/b", "Mine", "my variant", "a" * 65, None, 7])
def test_names_that_cannot_be_part_of_the_name_of_a_folder_are_refused(name):
    with pytest.raises(UsageProblemError, match=r"name is .*, must be 1 to 64 of the characters"):
        VariantSpec(name, "", "none", 100, "black")


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("jitter", [0, 255])
def test_known_backgrounds_and_queries_are_accepted_and_described(background, query, jitter):
    distractors = 17 if background == "distractors" else 0
    fields = {"background": background, "query": query, "jitter": jitter, "distractors": distractors}
    variant = replace(VARIANTS["mref" if query != "none" else "mone"], **fields)
    assert BACKGROUNDS[background] in variant.description
    assert variant.law()["jitter"] == jitter


def test_a_variant_without_a_query_has_classes_of_digits_and_no_queries():
    variant = VARIANTS["mone"]
    assert (variant.asks, variant.queries, variant.query_names) == (False, 0, ())
    assert (variant.classes, variant.label_names, variant.label_noun) == (10, tuple("0123456789"), "digit")
    assert (variant.target_noun, VARIANTS["mini"].target_noun) == ("digit", "queried digit")
    assert variant.values_text == "There is no query; the label is one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert variant.description == (
        "Images of one coloured digit on a natural photo, in different sizes. The label is the digit's class."
    )


KEPT = sorted((TOP / "results" / "data").glob("*/card.md"))


PHOTOS = TOP / "results" / "data" / "sun-photos.sha256"


def source(card: str, kind: str) -> tuple[str, str] | None:
    """Return the number and the SHA-256 of the digits or backgrounds of a card."""
    found = re.search(rf"^- {kind}: \S+, ([\d,]+), SHA-256 `(\w+)`", card, re.MULTILINE)
    return found and (found[1], found[2])


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.parent.name)
def test_stored_card_fingerprint_follows_from_the_law_and_the_sources(path):
    card = path.read_text()
    command = re.search(
        r"^mnistref generate --variant (\w+) --seed 0 --train (\d+) --val (\d+) --test (\d+) ", card, re.MULTILINE
    )
    sizes = dict(zip(("train", "val", "test"), map(int, command.groups()[1:]), strict=True))
    assert sizes == {"train": 30_000, "val": 10_000, "test": 10_000}
    photos = source(card, "backgrounds")
    spec = DatasetSpec(
        *(get_variant(command[1]), 0, tuple(sizes.items())),
        *(source(card, "digits")[1], photos and photos[1], "disjoint"),
    )
    assert spec.folder_name == path.parent.name == card.splitlines()[0].removeprefix("# ")
    assert (path.parent / "preview.webp").stat().st_size > 10_000
    laws = (path.parent / "shares.txt").read_text()
    assert laws.count(" yes\n") >= 35
    assert "NO" not in laws


def test_photographs_of_stored_cards_equal_the_list():
    lines = [line.split("  ") for line in PHOTOS.read_text().splitlines()]
    digests = sorted(digest for digest, _ in lines)
    names = [name for _, name in lines]
    assert len(set(digests)) == len(set(names)) == len(lines) == 1573
    listed = PhotoList("sun8", (), (), tuple(digests))
    used = {source(path.read_text(), "backgrounds") for path in KEPT if "<sun8>" in path.read_text()}
    assert used == {("1,573", listed.sha256)}


def test_stored_cards_cover_every_variant_of_the_papers():
    assert {path.parent.name.split("-")[0] for path in KEPT} == {"mref", "mdist", "mbg", "mbginv", "mbgb"}
    assert len(KEPT) == 6
