"""The chart of fooling rates: a panel for each method, a line for each region."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")
from bench.leaderboard.attack_table import AREA, FOOLING, METHOD, NORM, REGION, RUN
from bench.visualization.attack_plot import save_fooling_rates


def board() -> pd.DataFrame:
    """Return fooling rates that grow with the norm, and intervals of ± 5 %."""
    rows = [
        {METHOD: method, REGION: region, NORM: norm, AREA: area, FOOLING: rate}
        for method in ("fgsm", "pgd")
        for region, area in (("all", 1.0), ("target", 0.125))
        for norm, rate in ((1.0, 0.25), (4.0, 0.5), (16.0, 0.75))
    ]
    frame = pd.DataFrame(rows).assign(**{RUN: "run-1", "images": 1234})
    return frame.assign(**{f"{FOOLING}_lo": frame[FOOLING] - 0.05, f"{FOOLING}_hi": frame[FOOLING] + 0.05})


def test_each_method_has_a_panel_with_the_rates_of_each_region(tmp_path):
    figure = save_fooling_rates(board(), tmp_path / "rates.svg")
    assert [axes.get_title() for axes in figure.axes] == ["fgsm", "pgd"]
    for axes in figure.axes:
        assert len(axes.containers) == 2
        for container in axes.containers:
            line = container.lines[0]
            np.testing.assert_array_equal(line.get_xdata(), [1.0, 4.0, 16.0])
            np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [25, 50, 75])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["all, 1.000", "target, 0.125"]
    assert figure.get_suptitle() == "run-1, 1,234 questions"
    assert (tmp_path / "rates.svg").read_bytes().startswith(b"<?xml")


def test_one_method_has_one_panel(tmp_path):
    rows = board()
    figure = save_fooling_rates(rows[rows[METHOD] == "pgd"], tmp_path / "rates.png")
    assert [axes.get_title() for axes in figure.axes] == ["pgd"]
