"""Text for terminals: plain tables, and names that can be written anywhere."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Rows of cells, the first being the heading: columns aligned, or a Markdown table."""
    if markdown:
        lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def escaped(name: str) -> str:
    """Return a file's name as text that can be written anywhere: bytes that are no UTF-8 as backslash and code."""
    return name.encode("utf-8", "backslashreplace").decode()
