"""Files of a photo source that are not used, counted by reason for one line of the log."""

from mnistref.common.text_table import escaped

HIDDEN = ("hidden file or folder", "hidden files or folders")
OTHER = ("other file", "other files")
BROKEN = ("broken link", "broken links")
REPEATED = ("link to what is searched anyway", "links to what is searched anyway")
COPY = ("copy", "copies")
SMALLER = ("smaller or recompressed copy of another photo", "smaller or recompressed copies of other photos")
BAD = ("photo that cannot be used", "photos that cannot be used")
_REASONS = (HIDDEN, OTHER, BROKEN, REPEATED, COPY, SMALLER, BAD)
_NAMED = {OTHER: 5, SMALLER: 3, BAD: 3}
"""How many different names are shown for a reason; none for the other reasons."""


class Exclusions:
    """Names of excluded files, by reason. A reason is a (singular, plural) constant of this module."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[str]] = {}

    def add(self, reason: tuple[str, str], name: str) -> None:
        """Add an excluded file."""
        self._names.setdefault(reason, []).append(name)

    def names(self, reason: tuple[str, str]) -> list[str]:
        """Return the sorted names that are excluded for a reason."""
        return sorted(self._names.get(reason, ()))

    def __bool__(self) -> bool:
        return bool(self._names)

    def __str__(self) -> str:
        """Return every reason with its count, in one line."""
        return ", ".join(self._counted(reason) for reason in _REASONS if reason in self._names)

    def _counted(self, reason: tuple[str, str]) -> str:
        count, different = len(self._names[reason]), sorted(set(self._names[reason]))
        shown = [escaped(name) for name in different[: _NAMED.get(reason, 0)]]
        more = " …" if shown and len(different) > len(shown) else ""
        return f"{count:,} {reason[count > 1]}" + (f" ({', '.join(shown)}{more})" if shown else "")
