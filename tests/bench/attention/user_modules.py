"""Texts of small user modules, for `--attn file.py:Class`."""

from pathlib import Path
from textwrap import indent

from tests.helpers import TOP

EXAMPLE = TOP / "bench" / "examples" / "own_attention.py"
HEAD = "import torch\nfrom torch import nn\nfrom bench.attention.base import Changed, Readout, Reading, Scored\n"
GOOD = """
class Own(nn.Module):
    '''Own attention.'''
    def __init__(self, channels, query_dim, width=8):
        super().__init__()
        self.score, self.ask = nn.Conv2d(channels, 1, 1), nn.Linear(query_dim, 1)
    def forward(self, x, query):
        return self.score(x) * self.ask(query)[:, :, None, None]
"""
"""A complete mechanism with one option."""
BODY = """
class Own(nn.Module):
    def __init__(self, channels, query_dim):
        super().__init__()
        self.score, self.ask = nn.Conv2d(channels, 1, 1), nn.Linear(query_dim, 1)
        {init}
    def forward(self, x, query):
        score = self.score(x) * self.ask(query)[:, :, None, None]
        {forward}
"""
"""A mechanism without the end of its `__init__` and `forward`."""
TWO_LEVELS = """
class Two(Readout):
    levels = 2
    def __init__(self, channels, query_dim):
        super().__init__()
        self.ask = nn.Linear(query_dim, channels)
    def forward(self, features, query):
        asked = self.ask(query)[:, :, None, None]
        return Reading(torch.cat([(f * asked).mean(dim=(2, 3)) for f in features[-2:]], dim=1).unsqueeze(1), [])
"""
"""A readout of the features of two slots."""


def scorer(name: str, forward: str = "return self.score(x)", init: str = "") -> str:
    """Return the text of a mechanism whose score is a convolution and ignores the query.

    Args:
        name: Name of the class.
        forward: Body of `forward`, which may use `self.score`, x and query.
        init: Further lines of `__init__`.
    """
    return f"""
class {name}(nn.Module):
    def __init__(self, channels, query_dim):
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
{indent(init, " " * 8)}
    def forward(self, x, query):
{indent(forward, " " * 8)}
"""


def write_module(folder: Path, text: str, name: str = "own.py") -> Path:
    """Write the text, after the imports that it needs, to a file of the folder, and return its path."""
    path = folder / name
    path.write_text(HEAD + text)
    return path
