"""PAN compared with its formula."""

import torch

from tests.bench.attention.helpers import inputs, score_of


def test_receptive_fields_of_pan_and_pan_ctx():
    """A score depends on one position; with context, also on its eight neighbours, except in the last slot."""
    for name, last, reach in (("pan", False, 0), ("pan-ctx", False, 1), ("pan-ctx", True, 0), ("san", True, 0)):
        module, (x, query) = score_of(name, last), inputs(7, 7, batch=1)
        moved = x.clone()
        moved[:, :, 3, 3] += 5
        changed = (module(moved, query) != module(x, query))[0, 0].nonzero()
        assert (changed - 3).abs().max() == reach


def test_pan_is_a_perceptron_over_feature_and_query():
    module, (x, query) = score_of("pan"), inputs(2, 3, batch=2)
    w1, b1, e = module.features.weight[:, :, 0, 0], module.features.bias, module.embedding.linear.weight
    hidden = (torch.einsum("dc,bchw->bdhw", w1, x) + (b1 + query @ e.T)[:, :, None, None]).clamp_min(0)
    expected = torch.einsum("d,bdhw->bhw", module.score.weight[0, :, 0, 0], hidden) + module.score.bias
    torch.testing.assert_close(module(x, query)[:, 0], expected)
