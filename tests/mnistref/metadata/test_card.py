"""The card of a data set."""

from dataclasses import replace

import pytest

from mnistref.metadata.card import card, law_text
from mnistref.storage.manifest import read_manifest
from mnistref.storage.schema import FIELDS
from mnistref.storage.source import SourceChoices
from mnistref.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_card_describes_the_data_set_and_how_it_was_generated(variant, make):
    folder = make(variant)
    text, law = (folder / "README.md").read_text(encoding="utf-8"), VARIANTS[variant]
    for word in (
        *(f"`{name}`" for name in FIELDS),
        f"mnistref generate --variant {variant} ",
        "CC BY-SA 3.0",
        law.note,
    ):
        assert word in text, word
    assert ("natural photo" in text) == ("your own; its licence" in text) == (law.background == "photo")
    assert ("--backgrounds <photos" in text) == (law.background == "photo")
    assert "none" not in text.split("\n## ")[0]
    assert text == card(read_manifest(folder))


def test_card_tells_how_the_sources_were_used(make):
    manifest = read_manifest(make("mbg"))
    assert "No digit and no photo occurs in two splits." in card(manifest)
    text = card(replace(manifest, choices=SourceChoices(skip_bad=True, keep_copies=True, shared_digits=7)))
    assert " --skip-bad --keep-copies\n" in text
    assert "7 digits are the same pictures as others of a later split; no photo file occurs in two splits." in text
    assert "Copies of a photo in another size or quality may be in two splits (`--keep-copies`)." in text


def test_law_of_a_repeated_class_does_not_say_that_all_classes_differ():
    assert "different classes, but for the queried class;" in law_text(VARIANTS["mbgmulti"])
    assert "digits of different classes;" in law_text(VARIANTS["mbg"])
