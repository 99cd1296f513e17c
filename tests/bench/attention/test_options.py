"""The options of mechanisms: names, ranges and effects."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from bench.attention import MECHANISMS
from bench.attention.base import Scored
from bench.attention.options import require_at_least_one
from mnistref.common.errors import UsageProblemError
from tests.bench.attention.helpers import CHANNELS, QUERIES, WITH_CLASS, inputs


@pytest.mark.parametrize("name", WITH_CLASS)
def test_every_option_refuses_values_out_of_its_range(name):
    """Sizes below 1, even kernels and unknown words are refused."""
    m = MECHANISMS[name]
    for option, value in m.parameters().items():
        wrong = {bool: (), int: (0, -1), float: (-1.0, "nan", "inf"), str: ("mirror",)}[type(value)]
        if option in ("kernel", "context"):
            wrong += (2,)
        for text in wrong:
            with pytest.raises(UsageProblemError, match=option if text != 2 else "odd"):
                m.with_options([f"{option}={text}"]).build_module(CHANNELS, QUERIES)


@pytest.mark.parametrize("name", [name for name in WITH_CLASS if "padding" in MECHANISMS[name].parameters()])
def test_each_padding_mode_changes_the_score(name):
    """With the same parameters, each mode changes the score at the border of the map."""
    m = MECHANISMS[name]
    x, query = (t.float() for t in inputs(6, 8, channels=CHANNELS))
    seen = []
    for padding in ("zeros", "replicate", "reflect", "circular"):
        torch.manual_seed(0)
        module = m.with_options([f"padding={padding}"]).build_module(CHANNELS, QUERIES)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        torch.manual_seed(5)
        out = module(x, query)
        seen.append(out if isinstance(out, Tensor) else out[1] if isinstance(out, Scored) else out.features)
    reaches = any(isinstance(part, nn.Conv2d) and max(part.kernel_size) > 1 for part in module.modules())
    for one, other in itertools.combinations(seen, 2):
        assert one.shape == other.shape
        assert torch.equal(one, other) != reaches


def test_only_the_option_below_one_is_named():
    require_at_least_one(hidden=1, width=32)
    with pytest.raises(ValueError, match=r"^width=0: give 1 or more$"):
        require_at_least_one(hidden=1, width=0)
