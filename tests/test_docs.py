"""The documentation can be built without a network and without a warning, and its links resolve."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
DOCS = TOP / "docs"
RESULTS = sorted((TOP / "results").glob("*.md"))
LINKING = [TOP / "README.md", *RESULTS, TOP / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")

BUILD = """
import socket, sys

def refuse(*arguments):
    raise OSError("this test has no network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from sphinx.cmd.build import main

sys.exit(main(sys.argv[1:]))
"""
LOADING = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset")}
"""Attributes of elements that make a browser load a resource."""


class Loads(HTMLParser):
    """Collect the URLs that a browser loads for a page, and count the equations."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.equations = 0

    def handle_starttag(self, tag, attrs):
        self.equations += tag == "math"
        self.urls += [value or "" for name, value in attrs if (tag, name) in LOADING]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip("Sphinx is not installed")
    out = tmp_path_factory.mktemp("docs")
    arguments = ["-q", "-W", "--keep-going", "-d", str(out / "trees"), str(DOCS), str(out / "html")]
    done = subprocess.run(
        [sys.executable, "-c", BUILD, *arguments], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def test_every_page_of_the_documentation_is_built(built):
    assert {page.stem for page in DOCS.glob("*.md")} <= {page.stem for page in built.glob("*.html")}


def test_pages_load_nothing_from_a_network(built):
    loads = Loads()
    for page in built.glob("*.html"):
        loads.feed(page.read_text(encoding="utf-8"))
    assert len(loads.urls) > 50
    assert not [url for url in loads.urls if re.match(r"(https?:)?//", url)]


def test_the_results_fit_a_page():
    assert len((TOP / "results" / "README.md").read_text(encoding="utf-8").split()) <= 700


def test_links_to_the_folders_of_boards_lead_to_the_boards(built):
    page = (built / "results.html").read_text(encoding="utf-8")
    for board in (TOP / "results").glob("*/board.md"):
        targets = re.findall(rf'<a [^>]*href="([^"]+)"[^>]*>(?:<[^>]+>)*{board.parent.name}<', page)
        assert [(built / target).read_bytes() for target in targets[:1]] == [board.read_bytes()], board


@pytest.mark.parametrize("page", ["docs/get_started.md", "results/README.md", "docs/training.md", "docs/measures.md"])
def test_comments_in_shell_blocks_fit_the_page(page):
    """A line of the built pages has 90 characters. What is beyond them is cut off until the reader scrolls."""
    text = (TOP / page).read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]
    assert lines
    assert not [line for line in lines if "#" in line and len(line) > 90]


def test_equations_of_the_documentation_are_rendered(built):
    """Every equation of the pages is MathML without LaTeX commands."""
    loads, text = Loads(), ""
    for name in ("mechanisms", "measures", "statistics", "datasets"):
        text += (built / f"{name}.html").read_text(encoding="utf-8")
    loads.feed(text)
    assert loads.equations > 50
    inside = re.findall(r"<math.*?</math>", text, re.DOTALL)
    assert len(inside) == loads.equations
    assert not [equation for equation in inside if re.search(r"\\[a-zA-Z]|&amp;|<m[ion]>&<", equation)]


def test_tables_follow_the_registries(built):
    from bench.attention import MECHANISMS
    from bench.config import PRESETS, RECIPES
    from bench.evaluation.columns import COLUMNS
    from mnistref.storage.schema import FIELDS
    from mnistref.variants import VARIANTS

    shown = {
        "mechanisms": MECHANISMS,
        "datasets": VARIANTS,
        "formats": [*FIELDS, *(column.name for column in COLUMNS if column.on_board)],
    }
    shown["training"] = [*RECIPES, *PRESETS]
    for name, entries in shown.items():
        page = (built / f"{name}.html").read_text(encoding="utf-8")
        cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page, re.DOTALL)
        texts = {text for cell in cells for text in re.sub(r"<[^>]+>", "", cell).strip().split(", ")}
        assert set(entries) <= texts, name


def test_the_command_reference_has_every_command_and_option(built):
    import cli

    page = re.sub(r"<[^>]+>", "", (built / "cli.html").read_text(encoding="utf-8"))
    count = 0
    for program in (cli.mnistref, cli.bench):
        for name, command in program.commands.items():
            assert f"{program.name} {name}" in page
            for option in {text for parameter in command.params for text in parameter.opts if text.startswith("--")}:
                assert option in page, (name, option)
                count += 1
    assert count > 50


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(TOP)))
def test_links_of_the_documentation_resolve(page):
    """Relative links point to existing files, and anchors to existing headings."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub names them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
