"""Links of pages to Markdown files of the repository lead to the pages that include these files.

In the repository, pages link to `../results/README.md`. In the built pages this is the page `results`.
"""

from typing import Any

from sphinx.application import Sphinx

INCLUDED = {
    "../results/README.md": "results.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
}
"""File, as pages link to it → the page that includes it."""


def _replace(app: Sphinx, page: str, source: list[str]) -> None:
    for file, included in INCLUDED.items():
        source[0] = source[0].replace(f"]({file}", f"]({included}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace the links when a page is read."""
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
