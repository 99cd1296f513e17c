"""Text for terminals: tables, and file names that any stream can encode."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Return rows of cells as aligned columns, or as a Markdown table. The first row is the heading."""
    if markdown:
        lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def escaped(name: str) -> str:
    """Return a file name as valid Unicode text; bytes that are not UTF-8 become backslash escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
