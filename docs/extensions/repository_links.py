"""Links between the pages and other files of the repository.

On GitHub, pages link to `../results/README.md`. In the built pages this link leads to the page `results`, which
includes that file. Links within an included file lead to downloads: a link to the folder of a board, to the board.
"""

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

INCLUDED = {
    "../results/README.md": "results.md",
    "../results/claims.md": "results_claims.md",
    "../results/recipe.md": "results_recipe.md",
    "../results/questions.md": "results_questions.md",
    "../results/maps.md": "results_maps.md",
    "../results/networks.md": "results_networks.md",
    "../results/data-sets.md": "results_data_sets.md",
    "../results/version-0.1.md": "results_version_0_1.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
}
"""File, as pages link to it → the page that includes it."""
BOARD = "board.md"
"""The file of a folder that its links lead to."""
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")


def _link_to_pages(app: Sphinx, page: str, source: list[str]) -> None:
    for file, included in INCLUDED.items():
        source[0] = source[0].replace(f"]({file}", f"]({included}")


def _link_to_files(app: Sphinx, path: Path, page: str, source: list[str]) -> None:
    file = app.srcdir / path

    pages = {os.path.normpath(app.srcdir / name): included for name, included in INCLUDED.items()}

    def replaced(link: re.Match[str]) -> str:
        text, target = link.groups()
        name, _, anchor = target.partition("#")
        if included := pages.get(os.path.normpath(file.parent / name)):
            return f"[{text}]({included}{'#' * bool(anchor)}{anchor})"
        place = file.parent / target
        if place.is_dir():  # a folder cannot be downloaded
            place /= BOARD
        return f"{{download}}`{text} <{os.path.relpath(place, app.srcdir)}>`" if place.is_file() else text

    source[0] = _LINK.sub(replaced, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace the links when a page or an included file is read."""
    app.connect("source-read", _link_to_pages)
    app.connect("include-read", _link_to_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
