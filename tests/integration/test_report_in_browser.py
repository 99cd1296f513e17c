"""The page of `bench report` in Chromium: rendering, sorting, filtering, printing, legibility and requests."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.report.page import page
from tests.bench.report.helpers import curve_of, draw_pictures
from tests.bench.runs.measured_questions import write_attack, write_swap
from tests.integration.browser import look

pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra: test)")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
SCALES = ("0.5_1.0", "1.0_1.5", "1.5_2.0", "2.0_2.5", "2.5_3.0")
WIDE, NARROW = 1400, 360
VISIBLE_TEXT = """
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const parse = (text) => {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return {rgb: [r, g, b], a};
};
const light = (rgb) => {
  const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
for (const details of document.querySelectorAll("details")) details.open = true;
while (walker.nextNode()) {
  const text = walker.currentNode.data.trim();
  const element = walker.currentNode.parentElement;
  const style = getComputedStyle(element);
  if (!text || element.closest("script, style, title, desc, .hidden, option") || !element.checkVisibility()) continue;
  let under = element;
  while (under && parse(getComputedStyle(under).backgroundColor).a < 1) under = under.parentElement;
  const ground = under ? parse(getComputedStyle(under).backgroundColor).rgb : [255, 255, 255];
  const ink = parse(element.closest("svg") ? style.fill : style.color);
  const [low, high] = [light(ink.rgb), light(ground)].sort((a, b) => a - b);
  found.push([(high + 0.05) / (low + 0.05), text.slice(0, 40), element.tagName, ink.a]);
}
return found;
"""


def write_run(runs: Path, attn: str, seed: int, accuracy: float, **changes: Any) -> Path:
    """Write the folder of a run without weights."""
    run = runs / f"mbg-{len(list(runs.iterdir()))}-s{seed}"
    run.mkdir()
    scales = {f"accuracy_scale_{name}": accuracy - 0.02 * k for k, name in enumerate(SCALES)}
    result = {
        "status": "ok",
        "attn": attn,
        "variant": "mbg",
        "seed": seed,
        "recipe": "fast",
        "queries": "one",
        "dataset": {"spec_id": "0123456789ab", "digits": "mnist", "backgrounds": "builtin"},
        "accuracy": accuracy,
        "n_test": 1000,
        "params": 1234,
        "device": "cpu",
        "precision": "fp32",
        **scales,
        **{f"n_scale_{name}": 200 for name in SCALES},
        "train_step_ms": 1000 * accuracy,
        "mask_correctness": accuracy / 3,
        "mask_correctness_uniform": 0.02,
        "relative_runtime": 5 * accuracy,
        "bench_version": "0.1.0",
        **curve_of(accuracy),
        **changes,
    }
    lines = [{"epoch": e, "val_accuracy": accuracy * e / 6, "train_accuracy": accuracy * e / 7} for e in range(1, 6)]
    (run / "result.json").write_text(json.dumps(result))
    (run / "environment.json").write_text(json.dumps({"device": "cpu", "packages": {"torch": "2"}}))
    (run / "history.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return run


@pytest.fixture(scope="session")
def address(tmp_path_factory) -> str:
    """Return the address of a page on runs of five mechanisms, of another variant, and on failed runs."""
    top = tmp_path_factory.mktemp("page")
    runs = top / "runs"
    runs.mkdir()
    for k, attn in enumerate(("san", "pan", "pan-ctx", "arnn", "none")):
        for seed in (0, 1):
            run = write_run(runs, attn, seed, 0.5 + 0.07 * ((2 * k) % 5) + 0.01 * seed)
            draw_pictures(run, canvas=100, n=8, seed=k, maps=attn != "none")
    write_run(runs, "pan", 0, 0.9, variant="mref", relative_runtime=None)
    write_attack(run)
    write_swap(run)
    draw_pictures(write_run(runs, HOSTILE, 0, 0.4, recipe=HOSTILE), answer=HOSTILE)
    write_run(runs, "=cmd()", 0, 0.41, relative_runtime=None)
    write_run(runs, "arnn", 7, 0.4, status="diverged", reason=HOSTILE)
    (top / "report.html").write_text(page(runs, top), encoding="utf-8")
    return (top / "report.html").as_uri()


@pytest.fixture
def browser(chromium, address) -> Any:
    """Load the page on a light and wide screen, and return the browser."""
    look(chromium, "light", WIDE)
    chromium.get_log("performance")
    chromium.get_log("browser")
    chromium.get(address)
    return chromium


def head(browser: Any, name: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f"#leaderboard thead .is-{name}")


def cells(browser: Any, name: str) -> list[str]:
    """Return the values of a column in the order of the visible rows."""
    script = """return Array.from(document.querySelectorAll(`#leaderboard tbody tr:not([hidden]) .is-${arguments[0]}`))
        .map((cell) => cell.dataset.value)"""
    return browser.execute_script(script, name)


def by_data_set(browser: Any, name: str) -> list[list[str]]:
    """Return the values of a column for each data set, in the order of the rows that are shown."""
    script = """return Array.from(document.querySelectorAll("#leaderboard tbody:not([hidden])")).map((body) =>
        Array.from(body.querySelectorAll(`tr:not([hidden]) .is-${arguments[0]}`)).map((cell) => cell.dataset.value))"""
    return browser.execute_script(script, name)


def numbers_by_data_set(browser: Any, name: str) -> list[list[float]]:
    """Return the known numbers of a column for each data set."""
    return [[float(value) for value in values if value] for values in by_data_set(browser, name)]


def numbers(browser: Any, name: str) -> list[float]:
    return [float(value) for value in cells(browser, name) if value]


def test_page_renders_without_browser_errors(browser):
    assert browser.get_log("browser") == []
    assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
    charts = browser.find_elements(By.CSS_SELECTOR, "svg[role=img]")
    assert len(charts) > 20
    assert all(chart.size["width"] > 100 and chart.size["height"] > 50 for chart in charts)
    loaded = "return Array.from(document.images).map((image) => [image.complete, image.naturalWidth])"
    pictures = browser.execute_script(loaded)
    assert pictures
    assert all((complete and width == 800) or width == 6 * 48 for complete, width in pictures)


def test_page_makes_no_requests(browser):
    """The only request is for the file itself; data: addresses are no requests."""
    browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in sent if not url.startswith("data:")] == [browser.current_url]
    entries = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in entries if not name.startswith("data:")] == []


def test_content_security_policy_blocks_requests(browser):
    refused = """const done = arguments[0];
        fetch("http://127.0.0.1:9/").then(() => done("sent"), (error) => done(String(error)));"""
    assert "TypeError" in browser.execute_async_script(refused)
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_click_sorts_best_first_and_second_click_worst_first(browser):
    accuracy = head(browser, "accuracy")
    assert accuracy.get_attribute("aria-sort") == "none"
    accuracy.find_element(By.TAG_NAME, "button").click()
    assert accuracy.get_attribute("aria-sort") == "descending"
    best = numbers_by_data_set(browser, "accuracy")
    assert len(best) == 2
    assert best == [sorted(values, reverse=True) for values in best]
    accuracy.find_element(By.TAG_NAME, "button").click()
    assert accuracy.get_attribute("aria-sort") == "ascending"
    assert numbers_by_data_set(browser, "accuracy") == [values[::-1] for values in best]
    assert "each data set is sorted by accuracy, %, ascending" in browser.find_element(By.ID, "shown").text
    sorts = [
        cell.get_attribute("aria-sort") for cell in browser.find_elements(By.CSS_SELECTOR, "#leaderboard thead th")
    ]
    assert sorts.count("none") == len([s for s in sorts if s]) - 1


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE])
def test_table_can_be_sorted_by_keyboard(key, browser):
    browser.execute_script("document.querySelector('#leaderboard .is-attn button').focus()")
    browser.switch_to.active_element.send_keys(key)
    assert head(browser, "attn").get_attribute("aria-sort") == "ascending"
    for values in by_data_set(browser, "attn"):
        names = [name for name in values if name.isalpha()]
        assert names == sorted(names)


def test_numbers_sort_as_numbers_and_missing_values_come_last(browser):
    button = head(browser, "relative_runtime").find_element(By.TAG_NAME, "button")
    for _ in range(2):
        browser.execute_script("arguments[0].click()", button)
        first, second = by_data_set(browser, "relative_runtime")
        assert (first[-1], second) == ("", [""])
        assert len(set(numbers(browser, "relative_runtime"))) > 3
    assert numbers(browser, "relative_runtime") == sorted(numbers(browser, "relative_runtime"), reverse=True)


def test_filter_hides_rows_and_shows_the_number_of_remaining_rows(browser):
    status, words = browser.find_element(By.ID, "shown"), browser.find_element(By.ID, "words")
    every = len(cells(browser, "attn"))
    assert (status.get_attribute("role"), status.get_attribute("aria-live")) == ("status", "polite")
    assert status.text == f"{every} of {every} rows shown"
    words.send_keys("PAN-")
    assert cells(browser, "attn") == ["pan-ctx"]
    assert status.text == f"1 of {every} rows shown"
    words.send_keys("nothing is called so")
    assert status.text == f"0 of {every} rows shown"
    words.clear()
    words.send_keys(Keys.SPACE)
    assert len(cells(browser, "attn")) == every
    Select(browser.find_element(By.ID, "section")).select_by_visible_text("mref-0123456789ab")
    assert cells(browser, "attn") == ["pan"]
    titles = browser.find_elements(By.CSS_SELECTOR, "#leaderboard .title")
    assert [title.text.split()[0] for title in titles if title.is_displayed()] == ["mref-0123456789ab"]
    words.send_keys(Keys.ENTER)  # sends no form
    assert browser.current_url.endswith("report.html")


def test_every_control_has_a_name_and_the_keyboard_reaches_it(browser):
    unnamed = """const controls = "input, select, button, summary, [role=region], [role=img]";
        return Array.from(document.querySelectorAll(controls))
        .filter((e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel || e.getAttribute("aria-labelledby")))
        .map((e) => e.outerHTML)"""
    assert browser.execute_script(unnamed) == []
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text.startswith("Skip to")
    outlines = set()
    for _ in range(14):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        outlines.add(browser.switch_to.active_element.value_of_css_property("outline-style"))
    assert outlines == {"solid"}
    assert browser.switch_to.active_element.tag_name in ("input", "select", "div", "button")


def test_hostile_names_are_shown_as_text(browser):
    assert browser.title.startswith("bench report: attention mechanisms on")
    assert HOSTILE in cells(browser, "attn")
    assert "=cmd()" in cells(browser, "attn")
    assert browser.find_element(By.ID, "board").find_element(By.XPATH, "..").text.count("<script>document.title") >= 2
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    assert browser.find_elements(By.CSS_SELECTOR, "[onerror]") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_of_the_page_is_legible(scheme, browser):
    look(browser, scheme, WIDE)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    found = browser.execute_script(VISIBLE_TEXT)
    assert len(found) > 400
    assert {row[2] for row in found} >= {"P", "TD", "TH", "BUTTON", "text", "SUMMARY", "B", "SMALL", "LI", "A"}
    assert [row for row in found if row[0] < 4.5 or row[3] != 1] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shared_chart_axes_are_coloured(scheme, browser):
    """Shared axes are drawn once, outside of the charts, in the text colour of the colour scheme."""
    look(browser, scheme, WIDE)
    chart = browser.find_element(By.CSS_SELECTOR, ".large svg")
    browser.execute_script("arguments[0].scrollIntoView()", chart)
    drawn = chart.screenshot_as_base64
    picture = Image.open(io.BytesIO(base64.b64decode(drawn))).convert("L")
    below = picture.crop((picture.width // 4, int(picture.height * 0.955), picture.width * 3 // 4, picture.height))
    dark, light = below.getextrema()
    assert light - dark > 90  # the axis's title


@pytest.mark.parametrize("width", [NARROW, 380, 800])
def test_a_narrow_screen_scrolls_within_tables_only(width, browser):
    look(browser, "light", width)
    browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    script = """const e = document.scrollingElement; window.scrollTo(500, 0);
        return [e.scrollWidth, e.clientWidth, window.scrollX]"""
    across, there, scrolled = browser.execute_script(script)
    assert across == there <= width
    assert scrolled == 0
    board = "const e = document.querySelector('.board'); return [e.scrollWidth > e.clientWidth, e.tabIndex]"
    assert browser.execute_script(board) == [True, 0]


def test_a_wide_screen_is_used_and_no_recipe_is_cut_off(browser):
    look(browser, "light", 1920)
    script = """const width = (name) => document.querySelector(name).getBoundingClientRect().width;
        return [width(".board"), width(".board table"), width(".look .picture"), width(".large svg")]"""
    board, table, pictures, chart = browser.execute_script(script)
    assert board > 1800
    assert table >= board - 2
    assert pictures > 1300
    assert chart > 800
    cut = """return Array.from(document.querySelectorAll(".board .is-recipe, .look figcaption")).filter((e) =>
        e.scrollWidth > e.clientWidth || getComputedStyle(e).textOverflow === "ellipsis").length"""
    for width in (1920, 390):
        look(browser, "light", width)
        assert browser.execute_script(cut) == 0


def test_the_outline_covers_the_images_and_is_in_its_colour(browser):
    script = """return Array.from(document.querySelectorAll(".picture")).map((picture) => {
        const outline = picture.querySelector(".outline"), [a, b] = [picture, outline].map((e) =>
        e.getBoundingClientRect());
        return [Math.abs(a.width - b.width) + Math.abs(a.height - b.height) + Math.abs(a.x - b.x),
        getComputedStyle(outline.firstElementChild).stroke, outline.firstElementChild.getBBox().width]; })"""
    found = browser.execute_script(script)
    assert len(found) > 3
    assert all(away < 1 and colour == "rgb(255, 43, 214)" and width > 100 for away, colour, width in found)


def test_page_prints_on_a4(browser):
    how = {"printBackground": False, "preferCSSPageSize": True}
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", how)["data"])
    assert printed.startswith(b"%PDF")
    assert len(printed) > 50_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    width = {"width": 1031, "height": 703, "deviceScaleFactor": 1, "mobile": False}  # width of A4 without margins
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", width)
    script = """return [getComputedStyle(document.getElementById("controls")).display,
        document.scrollingElement.scrollWidth,
        getComputedStyle(document.querySelector("#leaderboard .is-attn")).position]"""
    shown, across, position = browser.execute_script(script)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (shown, position) == ("none", "static")
    assert across <= 1031


def test_page_is_readable_without_javascript(chromium, address):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get(address)
        assert not chromium.find_element(By.ID, "controls").is_displayed()
        assert chromium.find_element(By.CSS_SELECTOR, "#leaderboard tbody th").is_displayed()
        assert "accuracy, %" in chromium.find_element(By.CSS_SELECTOR, "#leaderboard thead").text
        assert chromium.find_elements(By.CSS_SELECTOR, "#leaderboard [aria-sort]") == []
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
