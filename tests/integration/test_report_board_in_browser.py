"""The board of the page of `bench report` in Chromium: its width, and the lines between its rows."""

import base64
import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from bench.report.page import page
from tests.integration.browser import look

STORED = Path(__file__).parents[2] / "results" / "fast" / "runs"


@pytest.fixture(scope="module")
def stored_board(tmp_path_factory) -> str:
    """Return the address of a page on stored runs, whose board has 20 columns."""
    top = tmp_path_factory.mktemp("stored")
    for name in ("arnn-s0-4c15ad981af5", "pan-ctx-s0-069d8ceb593f", "san-s0-664469a86fa0", "stn-m-s0-57f4a274c76f"):
        run = STORED / f"mref-{name}"
        kept = shutil.ignore_patterns("pictures", "*.npz", "saliency*", "attack*", "swap*")
        shutil.copytree(run, top / "runs" / run.name, ignore=kept)
    (top / "report.html").write_text(page(top / "runs", top), encoding="utf-8")
    return (top / "report.html").as_uri()


def test_a_board_of_all_usual_columns_fits_on_1300_pixels(chromium, stored_board):
    look(chromium, "light", 1300)
    chromium.get(stored_board)
    script = """const board = document.querySelector(".board"), words = document.querySelectorAll(".is-command .word");
        return [board.scrollWidth - board.clientWidth, document.querySelectorAll("#leaderboard thead th").length,
        Array.from(words).map((word) => word.textContent), words[1].getBoundingClientRect().width,
        words[1].parentElement.title]"""
    beyond, columns, words, width, title = chromium.execute_script(script)
    assert beyond <= 0
    assert columns == 20
    assert words == ["repeat it"] + 4 * ["command"]
    assert (width, title) == (1, "Show the command that repeats these runs.")
    look(chromium, "light", 1600)
    beyond, _, _, width, _ = chromium.execute_script(script)
    assert beyond <= 0
    assert width > 40


@pytest.mark.parametrize("offset", [0, 0.5, 0.75])
def test_lines_between_rows_are_drawn_under_the_mechanism_too(offset, chromium, stored_board):
    """The cells of mechanisms stick to the edge. They must not cover lines, wherever the board is between pixels."""
    look(chromium, "dark", 1300)
    chromium.get(stored_board)
    board = chromium.find_element("css selector", "#leaderboard tbody")
    script = """const [board, offset] = arguments, place = (e) => e.getBoundingClientRect();
        document.body.style.paddingTop = `${offset - place(board).y % 1 + 1}px`;
        board.scrollIntoView();
        return [".is-attn", ".is-seeds", "tr:nth-child(2)"].map((name) => place(board.querySelector(name)))
            .map((found) => [found.x - place(board).x, found.y - place(board).y])"""
    (mechanism, _), (seeds, _), (_, first) = chromium.execute_script(script, board, offset)
    picture = Image.open(io.BytesIO(base64.b64decode(board.screenshot_as_base64))).convert("RGB")
    rows = range(round(first) + 5, picture.height - 2)
    columns = [[picture.getpixel((round(x) + 2, y)) for y in rows] for x in (mechanism, seeds)]
    paper = max(set(columns[1]), key=columns[1].count)
    lines = [[y for y, colour in enumerate(column) if colour != paper] for column in columns]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 3
