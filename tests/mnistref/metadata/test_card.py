"""The card of a data set."""

import pytest

from mnistref.metadata.card import card
from mnistref.storage.manifest import read_manifest
from mnistref.storage.schema import FIELDS
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
