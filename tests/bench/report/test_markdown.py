"""Markdown of data cards as HTML."""

from bench.report.markdown import blocks


def test_markdown_of_a_data_card_is_rendered():
    parts = [
        "# T",
        "first\nsecond `x`",
        "| a | b |\n| --- | --- |\n| 1 | **2** |",
        "- one\n- two",
        "```sh\n# code\n```",
    ]
    found = blocks("\n\n".join(parts))
    assert [block.kind for block in found] == ["heading", "text", "table", "list", "code"]
    assert found[1].lines == [[[("text", "first second "), ("code", "x")]]]
    assert found[2].lines[1] == [[("text", "1")], [("strong", "2")]]
    assert found[4].lines == [[[("text", "# code")]]]
    assert blocks("```\nunended") == blocks("```\nunended\n```")
