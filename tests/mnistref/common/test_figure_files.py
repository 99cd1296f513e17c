"""Figure files: supported formats and reproducible bytes."""

from pathlib import Path

import pytest

from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import require_figure_name, save_figure


def test_unsupported_figure_suffix_is_a_usage_error():
    require_figure_name(Path("a.SVG"))
    for name in ("a", "a.jpg", "png"):
        with pytest.raises(UsageProblemError, match=rf"^{name}: give a name that ends in \.png, \.svg, \.pdf$"):
            require_figure_name(Path(name))


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF-")])
def test_same_figure_gives_the_same_bytes(suffix, start, tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1], [1, 0])
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        save_figure(figure, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(start)
