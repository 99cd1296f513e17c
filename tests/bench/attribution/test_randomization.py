"""The sanity check of Adebayo et al.: layers are randomised from the answer down, and maps are compared by ranks."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bench.attribution.methods import find_methods
from bench.attribution.randomization import cascade, layers_from_the_answer, randomize, rank_correlation
from bench.model import create_model

pytest.importorskip("captum")


def test_rank_correlation_equals_that_of_scipy():
    torch.manual_seed(0)
    first = torch.rand(3, 7, 9)
    for second in (torch.rand(3, 7, 9), (torch.rand(3, 7, 9) * 3).floor(), first**3, -first):
        expected = [stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
        np.testing.assert_allclose(rank_correlation(first, second), expected, atol=1e-12)
    assert rank_correlation(first, torch.ones(3, 7, 9)).tolist() == [0, 0, 0]


def test_the_cascade_leaves_the_network_unchanged_and_ends_with_other_maps(network, split):
    before = {name: value.clone() for name, value in network.network.state_dict().items()}
    batch = split.batch(torch.arange(4))
    steps = list(cascade(network, batch, find_methods("attention,gradient,center")))
    assert all(torch.equal(value, before[name]) for name, value in network.network.state_dict().items())
    names = [name for name, _ in steps]
    assert names[0].startswith("head")
    assert names[-1] == "stages.0"
    assert len(names) == len(set(names)) == len(layers_from_the_answer(network.network))
    assert [list(found) for _, found in steps] == [["attention", "gradient", "center"]] * len(steps)
    assert all((found["center"] == 1).all() for _, found in steps)  # a map that ignores the network
    assert (steps[-1][1]["gradient"] < 0.99).all()
    again = list(cascade(network, batch, find_methods("attention,gradient,center")))
    assert all(torch.equal(a[1]["gradient"], b[1]["gradient"]) for a, b in zip(steps, again, strict=True))


@pytest.mark.parametrize("attn", ["none", "pan-ctx", "arnn", "stn-m,san", "unet2", "ltpa-dp"])
def test_every_parameter_is_randomised_once(attn):
    model = create_model(attn, "mini")
    layers = layers_from_the_answer(model)
    own = [id(parameter) for _, module in layers for parameter in module.parameters(recurse=False)]
    assert sorted(own) == sorted(map(id, model.parameters()))


def test_modules_without_reset_parameters_are_drawn_with_the_trained_mean_and_spread():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.scale = nn.Parameter(3 + 2 * torch.randn(4000)), nn.Parameter(torch.tensor([5.0]))

    torch.manual_seed(0)
    module = Own()
    before = module.weight.clone()
    randomize(module)
    assert not torch.equal(before, module.weight)
    assert abs(float(module.weight.mean()) - 3) < 0.2
    assert abs(float(module.weight.std()) - 2) < 0.2
    assert torch.isfinite(module.scale).all()
