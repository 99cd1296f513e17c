"""The charts of the page: their titles, numbers and links."""

from bench.report.page import page
from tests.bench.report.helpers import edit, one, read


def test_every_chart_has_a_title_and_its_numbers(real, root):
    elements = read(page(real, root)).elements
    charts = [attrs for tag, attrs in elements if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) == 4
    assert sum(tag == "title" for tag, _ in elements) > len(charts)
    assert sum(attrs.get("class") == "numbers" for tag, attrs in elements if tag == "details") == 3


def test_charts_with_one_point_and_their_links_are_left_out(runs, root):
    """`mini` has one scale bin; with one epoch or one mechanism, there is no curve and nothing to compare."""
    text = page(runs, root)
    assert 'id="scales"' not in text
    assert "#scales" not in text
    for part in ("runtime", "learning"):
        assert f'<h2 id="{part}">' in text
        assert f'href="#{part}"' in text
    for run in runs.glob("mini-*"):
        path = run / "history.jsonl"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    edit(one(runs, "none"), status="failed", reason="?")
    text = page(runs, root)
    for part in ("runtime", "learning"):
        assert f'id="{part}"' not in text
        assert f"#{part}" not in text
    assert '<h2 id="recall">' in text
