"""The attention RNN compared with its formulas: the cells that each score depends on, and the distributions."""

import copy
import itertools
import math

import pytest
import torch
from scipy import stats
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vmap

from bench import attention
from bench.attention import AttentionRNN
from bench.attention.arnn import Gaussian, gaussian_product
from bench.attention.pan import QueryScore
from tests.bench.attention.helpers import inputs, score_of


@pytest.mark.parametrize(("m", "n"), [(6, 8), (8, 5)])
def test_arnn_scores_depend_on_exactly_the_cells_of_the_paper(m, n):
    """μ at (i, j) depends on all rows above and on its own row to the left; K^c widens this region by one cell."""
    module, (x, query) = score_of("arnn"), inputs(m, n, batch=1)
    plain = module(x, query)
    for i in range(m):
        for j in range(n):
            moved = x.clone()
            moved[:, :, i, j] += 1
            changed = (module(moved, query) != plain)[0, 0]
            rows, columns = torch.meshgrid(torch.arange(m), torch.arange(n), indexing="ij")
            left, right = max(j - 1, 0), min(j + 1, n - 1)
            top = max(i - 1, 0)
            by_left = (rows >= top) & (columns >= left)
            by_right = (rows >= top + 1) & (columns <= right)
            assert torch.equal(changed, by_left | by_right)


def test_arnn_concatenates_the_embedded_query_at_every_position():
    """The implementation adds a bias per image instead, which must equal K^x over [X^c, E q]."""
    from bench.kernels.diagonal_lstm import diagonal_lstm

    module, (x, query) = score_of("arnn"), inputs(4, 5, batch=2)
    planes = module.embedding(x, query)[:, :, None, None].expand(-1, -1, 4, 5)
    both = torch.cat([module.context(x), planes], dim=1)
    bias = module.bias.unsqueeze(1).expand(-1, 2, -1)
    torch.testing.assert_close(
        module.states(x, query), diagonal_lstm(both, bias, module.kernel_x, module.kernel_h, "reference")
    )


def test_arnn_combines_the_two_distributions_linearly():
    module, (x, query) = score_of("arnn"), inputs(4, 5, batch=2)
    left, right = module.states(x, query)
    parts = []
    for state, layer in ((left, module.to_left), (right, module.to_right)):
        out = torch.einsum("ot,btmn->bomn", layer.weight, state) + layer.bias[:, None, None]
        parts += [out[:, 0], torch.log1p(out[:, 1].exp())]
    expected = sum(w * p for w, p in zip(module.combine.weight[0], parts, strict=True)) + module.combine.bias
    torch.testing.assert_close(module(x, query)[:, 0], expected)


def test_arnn_starts_with_open_forget_gates():
    bias = AttentionRNN(8, hidden=16).bias
    assert (bias[:, 16:32] == 1).all()
    assert (bias[:, :16] == 0).all()
    assert (bias[:, 32:] == 0).all()


def test_attention_rnn_works_with_any_cnn():
    layer = AttentionRNN(12, query_dim=0, hidden=8, context=5, width=6)
    assert layer(torch.randn(2, 12, 9, 4)).shape == (2, 1, 9, 4)
    assert attention.QueryScore is QueryScore


@pytest.mark.parametrize(("m", "n"), [(6, 8), (7, 4)])
@pytest.mark.parametrize("t", [1, 16, 32])
def test_each_lstm_state_depends_on_exactly_the_cells_of_the_paper(m, n, t):
    """h^l at (i, j) depends on rows ≤ i and columns ≤ j; h^r on rows above i and columns from j. Context: 1 × 1."""
    module = score_of("arnn", hidden=t, context=1)
    x, query = inputs(m, n, batch=1)
    plain = module.states(x, query)
    rows, columns = torch.meshgrid(torch.arange(m), torch.arange(n), indexing="ij")
    for i, j in itertools.product(range(m), range(n)):
        moved = x.clone()
        moved[:, :, i, j] += 1
        left, right = (module.states(moved, query) != plain).any(dim=2)[:, 0]
        assert torch.equal(left, (rows >= i) & (columns >= j))
        assert torch.equal(right, (rows >= i + 1) & (columns <= j))


def test_independent_sides_combine_by_the_product_of_their_densities():
    """The expected μ and σ of the normalised product are integrated numerically."""
    left, right = Gaussian(torch.tensor(0.3), torch.tensor(0.7)), Gaussian(torch.tensor(-1.1), torch.tensor(1.9))
    grid = torch.linspace(-15, 15, 200_001, dtype=torch.float64)
    density = torch.exp(sum(-0.5 * ((grid - g.mean) / g.deviation) ** 2 for g in (left, right)))
    density /= density.sum()
    mean = (grid * density).sum()
    both = gaussian_product(left, right)
    assert both.mean.item() == pytest.approx(mean.item(), abs=1e-6)
    assert both.deviation.item() == pytest.approx(math.sqrt(((grid - mean) ** 2 * density).sum()), abs=1e-6)
    module, (x, query) = score_of("arnn-ind"), inputs(4, 5)
    sides = module.sides(x, query)
    torch.testing.assert_close(module(x, query), gaussian_product(*sides).mean)
    assert module.combine is None


@pytest.mark.parametrize("name", ["arnn-sampled", "arnn-ind-sampled"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_gaussian_samples_have_the_stated_mean_and_variance(name, scale):
    module, (x, query) = score_of(name, sigma_scale=scale), inputs(2, 3, batch=1)
    mean, deviation = (value.flatten() for value in module.distribution(x, query))
    torch.manual_seed(3)
    n = 2000
    draws = module(x.expand(n, -1, -1, -1), query.expand(n, -1)).flatten(1).detach()
    standard = ((draws - mean) / (scale * deviation)).detach()
    assert stats.kstest(standard.flatten().numpy(), "norm").pvalue > 1e-3
    for k in range(6):  # mean and variance of each cell (n s² / σ² is χ² distributed)
        assert abs(standard[:, k].mean()) * math.sqrt(n) < 4
        assert 1e-4 < stats.chi2(n).cdf(float(standard[:, k].square().sum())) < 1 - 1e-4
    correlation = torch.corrcoef(standard.T) - torch.eye(6, dtype=torch.float64)
    assert correlation.abs().max() < 0.12  # cells are drawn independently
    torch.testing.assert_close(score_of(name, sigma_scale=0.0)(x, query).flatten(), mean)


def test_sampled_and_deterministic_attention_rnns_share_parameters():
    """A network trained with a = μ can be sampled from, and the reverse, where Γ is the product."""
    names = [set(dict(score_of(name).named_parameters())) for name in ("arnn-ind", "arnn-ind-sampled")]
    assert names[0] == names[1]


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return AttentionRNN(4, hidden=3, width=5)


X = torch.randn(3, 4, 4, 5, generator=torch.Generator().manual_seed(0))


def test_functional_transforms_equal_plain_differentiation(layer):
    """The reference implementation is used, because the others do not support transforms."""
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(p: dict, x: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, (p,), (x,)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(parameters, X[:, None])
    for k in range(len(X)):
        layer.zero_grad()
        layer(X[k : k + 1]).square().sum().backward()
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(each[name][k], parameter.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(vmap(lambda x: layer(x[None])[0])(X), layer(X), rtol=1e-4, atol=1e-6)
    _, tangent = jvp(layer, (X,), (torch.ones_like(X),))
    jacobian = jacrev(lambda x: layer(x).sum((1, 2, 3)))(X)
    torch.testing.assert_close(tangent.sum(), jacobian.sum(), rtol=1e-4, atol=1e-5)


def test_ensemble_runs_in_one_vmap_call(layer):
    others = [layer, AttentionRNN(4, hidden=3, width=5)]
    parameters, buffers = stack_module_state(others)
    base = copy.deepcopy(layer).to("meta")
    found = vmap(lambda p, b: functional_call(base, (p, b), (X,)))(parameters, buffers)
    torch.testing.assert_close(found, torch.stack([each(X) for each in others]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["cpu", "packed"])
def test_errors_of_fast_implementations_name_the_supporting_one(name):
    layer = AttentionRNN(4, implementation=name)
    with pytest.raises(ValueError, match=r"does not support torch\.func transforms.*use 'reference'"):
        jvp(layer, (X,), (X,))
    x = X.clone().requires_grad_()
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    torch.testing.assert_close(first, torch.autograd.grad(layer(x).square().sum(), x)[0])
    with pytest.raises(NotImplementedError, match="gradients of gradients give implementation='reference'"):
        first.square().sum().backward()


def test_reference_implementation_can_be_differentiated_twice():
    layer = AttentionRNN(2, hidden=2, width=2, implementation="reference").double()
    assert torch.autograd.gradgradcheck(layer, X[:1, :2, :2, :3].double().requires_grad_())
