"""Tables and file names as text."""

import os

from mnistref.common.text_table import escaped, table


def test_table_columns_are_aligned_without_trailing_spaces():
    assert table([["a", "bb"], ["ccc", "d"], ["e", ""]]) == "a    bb\nccc  d\ne"


def test_markdown_table_escapes_vertical_bars():
    rows = [["a", "b"], ["c", "d|e"]]
    assert table(rows, markdown=True) == "| a | b |\n| --- | --- |\n| c | d\\|e |"


def test_escaped_name_can_be_encoded():
    assert escaped(os.fsdecode(b"caf\xe9")) == "caf\\udce9"
    assert escaped("é.png") == "é.png"
