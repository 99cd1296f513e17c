"""Parser of the subset of Markdown that data set cards use. Pure. Its output is data: nothing in it becomes markup."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Spans = list[tuple[str, str]]
"""Pairs (kind, text), where kind is text, code or strong."""


@dataclass(frozen=True)
class Block:
    """A block of a card.

    Attributes:
        kind: heading, text, list, table or code.
        lines: the lines of the block (for a table: its rows), each a list of cells, which are spans.
    """

    kind: str
    lines: list[list[Spans]]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a text, in order. Anything that is not of a known kind is text."""
    return list(_blocks(text.splitlines()))


def spans(line: str) -> Spans:
    """Return the text, `code` and **strong** spans of a line."""
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", line)
    kinds = {"`": "code", "*": "strong"}
    return [(kinds[part[0]], part.strip("`*")) if k % 2 else ("text", part) for k, part in enumerate(parts) if part]


def _blocks(lines: list[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        line, start = lines[at], at
        at += 1
        if line.startswith("```"):
            while at < len(lines) and not lines[at].startswith("```"):
                at += 1
            yield Block("code", [[[("text", code)]] for code in lines[start + 1 : at]])
            at += 1
        elif line.startswith("#"):
            yield Block("heading", [[spans(line.lstrip("#").strip())]])
        elif line.startswith(("- ", "|")):
            while at < len(lines) and lines[at].startswith(line[0]):
                at += 1
            found = lines[start:at]
            if line[0] == "-":
                yield Block("list", [[spans(item[2:])] for item in found])
            else:
                yield Block("table", [_cells(row) for row in found if not re.fullmatch(r"[|\s:-]+", row)])
        elif line.strip():
            while at < len(lines) and lines[at].strip() and not lines[at].startswith(("#", "- ", "|", "```")):
                at += 1
            yield Block("text", [[spans(" ".join(lines[start:at]))]])


def _cells(row: str) -> list[Spans]:
    cells = re.split(r"(?<!\\)\|", row.strip().strip("|"))
    return [spans(cell.strip().replace("\\|", "|")) for cell in cells]
