"""The plot of the laws shows the measured values."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_split
from mnistref.inspection.statistics import LawCheck, statistics
from mnistref.storage.manifest import read_manifest

pytest.importorskip("matplotlib")

from mnistref.inspection import plot


@pytest.fixture(params=["mini", "mbgmulti"])
def folder(request, make):
    return make(request.param)


def panels(folder, laws: list[LawCheck]) -> dict:
    return dict(zip(plot.PANELS, plot._figure(laws, read_manifest(folder)).axes, strict=True))


def test_law_plot_shows_expected_bars_and_measured_marks(folder):
    manifest = read_manifest(folder)
    axes = panels(folder, statistics(folder))
    np.testing.assert_allclose([bar.get_height() for bar in axes["scale"].patches], manifest.variant.expected_shares)
    for split, line in zip(manifest.splits, axes["colour"].lines, strict=True):
        color = read_split(folder, split, "digit_color")["digit_color"]
        counts = np.bincount(color[color >= 0], minlength=5)
        np.testing.assert_allclose(line.get_ydata(), counts / counts.sum())
    for panel in axes.values():
        assert panel.get_title(loc="left").startswith("holds")
        for line in panel.lines:
            assert (np.asarray(line.get_ydata()) < panel.get_ylim()[1]).all()


def test_law_plot_heading_names_the_data_set_and_the_note(folder):
    manifest = read_manifest(folder)
    heading = plot._figure(statistics(folder), manifest).get_suptitle()
    for word in (manifest.folder_name, "test", manifest.variant.note):
        assert word in heading
    long = replace(manifest, variant=replace(manifest.variant, note="changed: " + "digits per image 1–9, " * 20))
    figure = plot._figure(statistics(folder), long)
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert 0 < box.x0 < box.x1 < figure.bbox.width


def test_law_plot_marks_a_broken_law(folder):
    laws = [replace(law, holds=law.law != "colours uniform" or law.split != "test") for law in statistics(folder)]
    titles = {of: axes.get_title(loc="left") for of, axes in panels(folder, laws).items()}
    assert titles.pop("colour") == "DOES NOT HOLD in test"
    assert not any("NOT" in title for title in titles.values())


def test_law_plot_file_format_follows_the_suffix(folder, tmp_path):
    laws, manifest = statistics(folder), read_manifest(folder)
    plot.save_plot(laws, manifest, tmp_path / "laws.png")
    assert Image.open(tmp_path / "laws.png").width > 1000
    plot.save_plot(laws, manifest, tmp_path / "laws.svg")
    assert "<svg" in (tmp_path / "laws.svg").read_text()
    with pytest.raises(UsageProblemError, match=r"\.png, \.svg, \.pdf"):
        plot.save_plot(laws, manifest, tmp_path / "laws.txt")
