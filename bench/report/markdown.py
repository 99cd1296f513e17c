"""The little Markdown that a data set's card is written in → blocks to be shown. Pure; nothing in it becomes markup."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Spans = list[tuple[str, str]]
"""(kind, text): kind is text, code or strong."""


@dataclass(frozen=True)
class Block:
    """`kind`: heading, text, list, table or code. `lines`: its lines (of a table: the rows), each of cells of spans."""

    kind: str
    lines: list[list[Spans]]


def blocks(text: str) -> list[Block]:
    """The blocks of a page, in order; what is none of the known kinds is text."""
    return list(_blocks(text.splitlines()))


def spans(line: str) -> Spans:
    """Words, `code` and **strong words** of a line."""
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
