"""What each mechanism claims, one by one, and independent implementations of the same."""

import itertools
import math

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

import bench
from bench import attention
from bench.attention import MECHANISMS, AttentionRNN
from bench.attention.arnn import Gaussian, gaussian_product
from bench.attention.base import Changed, Gate, PooledReadout, Reading
from bench.attention.brnn import BlockAttentionRNN
from bench.attention.cbam import CBAM
from bench.attention.channel import CoordinateAttention, EfficientChannelAttention, FiLM, SqueezeExcite
from bench.attention.han import HardReadout
from bench.attention.layers import normalize_map
from bench.attention.ltpa import GlobalLocalReadout
from bench.attention.pan import QueryScore
from bench.attention.selfattention import SelfAttentionReadout
from bench.attention.stn import SpatialTransformer, transform
from bench.attention.unet import UNet, UNetAttentionRNN
from bench.attention.warps import compose_frame, place_in_image
from bench.metrics import attended
from bench.model import Head


def score_of(name: str, last: bool = False, channels: int = 5, query_dim: int = 4, **options) -> nn.Module:
    torch.manual_seed(0)
    texts = [f"{k}={str(v).lower()}" for k, v in options.items()]
    return MECHANISMS[name].with_options(texts).build_module(channels, query_dim, last).double()


def inputs(height: int, width: int, batch: int = 3, channels: int = 5, query_dim: int = 4):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    return x, torch.eye(query_dim, dtype=torch.float64)[torch.arange(batch) % query_dim]


def test_a_gate_multiplies_then_normalises_and_a_readout_averages():
    x, query = inputs(4, 3)
    score = score_of("pan")
    gate, a = Gate(score, 5).double(), score(x, query).sigmoid()
    torch.testing.assert_close(gate(x, query).mask, a)
    product = x * a
    mean, variance = product.mean(dim=(0, 2, 3)), product.var(dim=(0, 2, 3), unbiased=False)
    expected = (product - mean[:, None, None]) / (variance[:, None, None] + 0.01).sqrt()
    torch.testing.assert_close(gate(x, query).features, expected)
    reading = PooledReadout(score)([x], query)
    weight = torch.exp(score(x, query))
    weight = weight / weight.sum(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(reading.masks[0], weight)
    torch.testing.assert_close(reading.vectors[:, 0], torch.einsum("bchw,bhw->bc", x, weight[:, 0]))


def test_pan_and_pan_ctx_see_what_they_should():
    """One position without context, its eight neighbours with it, and none of them in the last slot."""
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


@pytest.mark.parametrize(("m", "n"), [(6, 8), (8, 5)])
def test_arnn_scores_depend_on_exactly_the_cells_of_the_paper(m, n):
    """μ at (i, j) has seen the rows above by both LSTMs, its own row to the left; K^c widens that by one cell."""
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
    """The bias per image that stands for it equals K^x over [X^c, E q]."""
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


def test_attention_rnn_fits_any_cnn():
    layer = AttentionRNN(12, query_dim=0, hidden=8, context=5, width=6)
    assert layer(torch.randn(2, 12, 9, 4)).shape == (2, 1, 9, 4)
    assert attention.QueryScore is QueryScore


@pytest.mark.parametrize(("m", "n"), [(6, 8), (7, 4)])
@pytest.mark.parametrize("t", [1, 16, 32])
def test_each_lstm_has_seen_exactly_the_cells_of_the_paper(m, n, t):
    """h^l at (i, j): rows up to i, columns up to j; h^r: rows above i, columns from j on (context of 1 × 1)."""
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
    """μ and σ of the normalised product, integrated numerically."""
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
def test_samples_have_the_mean_and_variance_they_claim(name, scale):
    module, (x, query) = score_of(name, sigma_scale=scale), inputs(2, 3, batch=1)
    mean, deviation = (value.flatten() for value in module.distribution(x, query))
    torch.manual_seed(3)
    n = 2000
    draws = module(x.expand(n, -1, -1, -1), query.expand(n, -1)).flatten(1).detach()
    standard = ((draws - mean) / (scale * deviation)).detach()
    assert stats.kstest(standard.flatten().numpy(), "norm").pvalue > 1e-3
    for k in range(6):  # every cell by itself: its mean, and its variance (n s² / σ² is χ² distributed)
        assert abs(standard[:, k].mean()) * math.sqrt(n) < 4
        assert 1e-4 < stats.chi2(n).cdf(float(standard[:, k].square().sum())) < 1 - 1e-4
    correlation = torch.corrcoef(standard.T) - torch.eye(6, dtype=torch.float64)
    assert correlation.abs().max() < 0.12  # cells are drawn independently
    torch.testing.assert_close(score_of(name, sigma_scale=0.0)(x, query).flatten(), mean)


def test_sampled_and_plain_share_their_parameters():
    """A network trained with a = μ can be sampled from, and the reverse, where Γ is the product."""
    names = [set(dict(score_of(name).named_parameters())) for name in ("arnn-ind", "arnn-ind-sampled")]
    assert names[0] == names[1]


@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 5), (1, 8), (2, 2)])
def test_block_attention_is_one_value_a_block_times_the_kernel(block, height, width):
    module = score_of("brnn2", block=block)
    x, query = inputs(height, width)
    score, coarse = module(x, query), module.coarse(x, query)
    assert coarse.shape[2:] == (-(-height // block), -(-width // block))
    large = coarse.repeat_interleave(block, dim=2).repeat_interleave(block, dim=3)[:, :, :height, :width]
    torch.testing.assert_close(score, large)  # the kernel starts as ones
    with torch.no_grad():
        module.grow.weight += torch.randn_like(module.grow.weight)
        module.grow.bias += 0.5
    tiles = module.grow.weight[0, 0].repeat(height, width)[:height, :width]
    torch.testing.assert_close(module(x, query), large * tiles + 0.5)


def test_blocks_beyond_the_map_are_zeros():
    module, (x, query) = BlockAttentionRNN(5, 4, block=3).double(), inputs(7, 8)
    padded = F.pad(x, (0, 1, 0, 2))
    torch.testing.assert_close(
        module.coarse(x, query),
        module.attend(F.conv2d(padded, module.shrink.weight, module.shrink.bias, stride=3), query),
    )


def test_hard_attention_sums_over_every_position():
    torch.manual_seed(0)
    readout, head = HardReadout(5, 4).double().eval(), Head(5, 3, 0, 0.5).double().eval()
    x, query = inputs(3, 4)
    reading = readout([x], query)
    probabilities = head(reading, query).exp()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3, dtype=torch.float64))
    weight = readout.score(x, query).flatten(1).softmax(1)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for i, j in itertools.product(range(3), range(4)):
        alone = Reading(x[:, :, i, j].unsqueeze(1), [])
        expected += weight[:, i * 4 + j, None] * head(alone, query).softmax(dim=1)
    torch.testing.assert_close(probabilities, expected)


def test_hard_attention_survives_a_certain_choice():
    """One position takes all the weight: no logarithm of zero."""
    torch.manual_seed(0)
    readout, head = HardReadout(5, 4), Head(5, 3, 0, 0.0)
    with torch.no_grad():
        readout.score.score.weight *= 1e4
    x, query = (t.float() for t in inputs(4, 4))
    loss = F.cross_entropy(head(readout([x], query), query), torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in readout.parameters())


def test_an_identity_transformer_returns_its_input():
    module, (x, query) = SpatialTransformer(5, 4).double(), inputs(5, 7)
    out = module(x, query)
    torch.testing.assert_close(out.features, x)
    torch.testing.assert_close(out.mask, torch.ones(3, 1, 5, 7, dtype=torch.float64))
    torch.testing.assert_close(place_in_image(out.mask, compose_frame(None, out.warp)), out.mask)


def test_a_window_can_come_back_from_wherever_it_is():
    """Once far outside, it would see zeros only, whatever becomes of θ."""
    module, (x, query) = SpatialTransformer(5, 4).double(), inputs(6, 9)
    with torch.no_grad():
        module.theta.bias.copy_(torch.tensor([-9.0, 1.0, -18.0, 13.0, 4.0, 40.0]))
    out = module(x.abs() + 1, query)
    assert (out.features.sum(dim=(1, 2, 3)) > 0).all()
    out.features.square().sum().backward()
    assert (module.theta.bias.grad != 0).all()
    assert (out.warp[:, :, :2].abs() < 2).all()
    assert (out.warp[:, :, 2].abs() < 1).all()


def test_a_transformer_samples_where_theta_says():
    """A window of half the size about the centre of a 6 × 6 map; a mirrored one."""
    x = torch.arange(36.0).view(1, 1, 6, 6)
    window = transform(x, torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]]))
    coordinates = (torch.arange(6.0) + 0.5) / 2 + 1.5 - 0.5
    expected = coordinates[:, None] * 6 + coordinates[None, :]
    torch.testing.assert_close(window[0, 0], expected)
    mirrored = transform(x, torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))
    torch.testing.assert_close(mirrored, x.flip(3))


def test_a_map_is_placed_where_its_features_came_from():
    """A window on the upper left quarter, and in it one on its lower right: from a quarter to half of the image."""
    quarter = torch.tensor([[[0.5, 0.0, -0.5], [0.0, 0.5, -0.5]]])
    within = torch.tensor([[[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]])
    ones = torch.ones(1, 1, 32, 32)
    outer = compose_frame(None, quarter)
    inner = compose_frame(outer, within)
    assert place_in_image(ones, outer)[0, 0, :15, :15].eq(1).all()
    assert place_in_image(ones, outer)[0, 0, 17:].eq(0).all()
    assert place_in_image(ones, inner)[0, 0, 9:15, 9:15].eq(1).all()
    assert place_in_image(ones, inner)[0, 0, :7].eq(0).all()
    assert place_in_image(ones, inner).sum() == pytest.approx(64, rel=0.05)
    ramp = torch.linspace(0, 1, 32)[:, None] + torch.linspace(0, 2, 32)
    seen = transform(ramp[None, None], inner[:, :2])
    twice = transform(transform(ramp[None, None], quarter), within)
    torch.testing.assert_close(seen[..., 2:-2, 2:-2], twice[..., 2:-2, 2:-2])
    flat = compose_frame(None, torch.zeros(1, 2, 3))
    assert place_in_image(ones, flat).isfinite().all()
    assert normalize_map(torch.zeros(1, 1, 4, 4)).eq(1 / 16).all()


def test_maps_after_a_transformer_lie_in_the_image():
    torch.manual_seed(0)
    model = bench.create_model("stn-m,pan", variant="mini").eval()
    with torch.no_grad():  # a window on the upper left quarter
        model.gates["0"].attend.theta.bias.copy_(torch.tensor([1 / 3, 0.0, -1.0, 0.0, 1 / 3, -1.0]))
    masks = model(torch.rand(2, 3, 48, 48), torch.tensor([1, 2])).masks
    assert len(masks) == 4
    for mask in masks:
        size = mask.shape[2]
        assert mask[:, :, : (size + 1) // 2, : (size + 1) // 2].sum() > 0.9 * mask.sum()


@pytest.mark.parametrize("compatibility", ["dot", "parametrised"])
def test_ltpa_is_its_formula(compatibility):
    module = GlobalLocalReadout(5, 4, compatibility).double()
    x, query = inputs(3, 4)
    features = [x.repeat(1, 1, 4, 4), x.repeat(1, 1, 2, 2).sin(), x]
    reading = module(features, query)
    g = module.globally(x.mean(dim=(2, 3))) + module.embedding(x, query)
    for level, local in enumerate(features):
        flat = local.flatten(2)
        if compatibility == "dot":
            score = torch.einsum("bcn,bc->bn", flat, g)
        else:
            score = torch.einsum("c,bcn->bn", module.weigh[level].weight.view(-1), (flat + g[..., None]).tanh())
        a = score.softmax(dim=1)
        torch.testing.assert_close(reading.masks[level].flatten(1), a)
        torch.testing.assert_close(
            reading.vectors[:, 0, 5 * level : 5 * level + 5], torch.einsum("bcn,bn->bc", flat, a)
        )


def test_ltpas_global_feature_goes_through_the_attended_vectors_alone():
    """Where every position has the same local feature, the vectors are that feature whatever g is."""
    module, (_, query) = GlobalLocalReadout(5, 4).double(), inputs(1, 1)
    same = torch.randn(3, 5, 1, 1, dtype=torch.float64).expand(3, 5, 4, 4)
    readings = [module([same] * 3, q).vectors for q in (query, query.roll(1, dims=1))]
    torch.testing.assert_close(*readings)
    torch.testing.assert_close(readings[0][:, 0], same[:, :, 0, 0].repeat(1, 3))


def test_ltpas_formula_as_written_cannot_see_the_query():
    x, query = inputs(3, 4)
    for linear, sees in ((True, False), (False, True)):
        module = GlobalLocalReadout(5, 4, "parametrised", linear=linear).double()
        readings = [module([x, x, x], q).vectors for q in (query, query.roll(1, dims=1))]
        assert ((readings[0] - readings[1]).abs().max() > 1e-9) == sees


def test_ltpas_maps_are_measured_by_the_square_root_of_their_product():
    model = bench.create_model("ltpa-dp", variant="mini").eval()
    out = model(torch.rand(2, 3, 48, 48), torch.tensor([1, 2]))
    full = [F.interpolate(m, (48, 48), mode="bilinear", align_corners=False) for m in out.masks]
    root = (full[0] * full[1] * full[2]).sqrt().squeeze(1)
    expected = root / root.sum(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(attended(out.masks, (48, 48), out.mask_power), expected)


def unet_as_written(net: UNet, x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """The same from the top level down: [own features, the level below enlarged], step by step."""
    ups = [*net.up][::-1]  # the first one is the deepest

    def level(k: int, x: torch.Tensor) -> torch.Tensor:
        own = F.conv2d(F.pad(x, (1, 1, 1, 1)), net.down[k].weight, net.down[k].bias)
        if k == 0:
            own = own + (query @ net.embedding.linear.weight.T)[:, :, None, None]
        own = own.clamp_min(0)
        if k == len(ups):
            return own
        height, width = own.shape[2:]
        even = F.pad(own, (0, width % 2, 0, height % 2), value=-math.inf)
        quarters = [even[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        below = level(k + 1, torch.stack(quarters).amax(dim=0))
        large = below[:, :, torch.arange(height) // 2][..., torch.arange(width) // 2]
        both = torch.cat([own, large], dim=1)
        return F.conv2d(F.pad(both, (1, 1, 1, 1)), ups[k].weight, ups[k].bias).clamp_min(0)

    return level(0, x)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(13, 7), (9, 10), (6, 6), (1, 5), (1, 1)])
def test_a_unet_is_its_formula(depth, height, width):
    torch.manual_seed(0)
    net, (x, query) = UNet(5, 4, depth).double(), inputs(height, width)
    torch.testing.assert_close(net(x, query), unet_as_written(net, x, query))


@pytest.mark.parametrize(("depth", "before", "after"), [(1, 1, 1), (2, 5, 4), (3, 11, 10)])
def test_a_unet_sees_exactly_as_far_as_its_depth(depth, before, after):
    """From position 20: 3×3 at each level, and whole cells of 2^level positions."""
    torch.manual_seed(0)
    net, (x, query) = UNet(3, 4, depth).double(), inputs(41, 39, batch=1, channels=3)
    moved = x.clone()
    moved[:, :, 20, 20] += 3
    changed = (net(moved, query) != net(x, query)).any(dim=1)[0].nonzero() - 20
    assert changed.amin(dim=0).tolist() == [-before] * 2
    assert changed.amax(dim=0).tolist() == [after] * 2


def test_a_unet_is_arnns_local_context():
    module, (x, query) = UNetAttentionRNN(5, 4, depth=3).double(), inputs(5, 6)
    seen = []
    module.context.register_forward_hook(lambda *_: pytest.fail("its two parts are called"))
    module.context.prepare = lambda given: seen.append(given) or given
    module.context.answer = lambda *given: seen.append(given[1]) or torch.zeros(3, 32, 5, 6, dtype=torch.float64)
    assert module(x, query).shape == (3, 1, 5, 6)
    assert torch.equal(seen[0], x)
    assert torch.equal(seen[1], query)


def timm_weights(own: CBAM, theirs: nn.Module) -> None:
    with torch.no_grad():
        theirs.channel.fc1.weight.copy_(own.channel.hidden.weight[:, :, None, None])
        theirs.channel.fc2.weight.copy_(own.channel.out.weight[:, :, None, None])
        # Eq. 3 and timm stack [mean, max], ours [max, mean]: the same maths, its kernel's planes in another order.
        theirs.spatial.conv.conv.weight.copy_(own.spatial.weight.flip(1))
        theirs.spatial.conv.bn.eps = 0.0


def test_cbam_agrees_with_timm():
    from timm.layers.cbam import CbamModule

    torch.manual_seed(0)
    own, theirs = CBAM(8, 0).double(), CbamModule(8, rd_ratio=0.25, spatial_kernel_size=3).double().eval()
    timm_weights(own, theirs)
    x = torch.randn(3, 8, 5, 6, dtype=torch.float64)
    features, score = own(x)
    torch.testing.assert_close(features * score.sigmoid(), theirs(x))


def test_se_eca_and_coordinate_attention_agree_with_timm():
    from timm.layers import EcaModule, SEModule
    from timm.layers.coord_attn import CoordAttn

    torch.manual_seed(0)
    x = torch.randn(3, 32, 5, 7, dtype=torch.float64)
    own, theirs = SqueezeExcite(32).double(), SEModule(32, rd_channels=8).double()
    own.excite.fc1.load_state_dict(theirs.fc1.state_dict())
    own.excite.fc2.load_state_dict(theirs.fc2.state_dict())
    torch.testing.assert_close(own(x).features, theirs(x))
    own, theirs = EfficientChannelAttention(32).double(), EcaModule(32).double()
    own.neighbours.load_state_dict(theirs.conv.state_dict())
    torch.testing.assert_close(own(x).features, theirs(x))
    own, theirs = CoordinateAttention(32).double(), CoordAttn(32, rd_channels=8, bias=True).double()
    own.both.weight.data.copy_(theirs.conv1.weight.data)
    theirs.conv1.bias.data.zero_()
    own.to_rows.load_state_dict(theirs.conv_h.state_dict())
    own.to_columns.load_state_dict(theirs.conv_w.state_dict())
    torch.testing.assert_close(own(x).features, theirs(x))


def test_film_scales_and_shifts_what_is_normalised():
    module, (x, query) = FiLM(5, 4).double(), inputs(3, 4)
    out = module(3 * x + 7, query)
    assert isinstance(out, Changed)
    mean, variance = (3 * x).mean(dim=(0, 2, 3)), (3 * x).var(dim=(0, 2, 3), unbiased=False)
    normal = (3 * x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    scale, shift = query @ module.scale.linear.weight.T, query @ module.shift.linear.weight.T
    expected = (1 + scale[:, :, None, None]) * normal + shift[:, :, None, None]
    torch.testing.assert_close(out.features, expected.clamp_min(0))
    torch.testing.assert_close(FiLM(5).double()(3 * x + 7).features, normal.clamp_min(0))


def test_self_attention_is_torchs_and_its_map_the_querys_row():
    torch.manual_seed(0)
    module, (x, query) = SelfAttentionReadout(8, 4, heads=2, layers=1).double(), inputs(3, 4, channels=8)
    reading = module([x], query)
    tokens = module.norms[0](torch.cat([module.embedding(x, query).unsqueeze(1), x.flatten(2).mT], dim=1))
    attend = module.attends[0]
    q, k, v = (
        t.unflatten(2, (2, 4)).transpose(1, 2)
        for t in F.linear(tokens, attend.in_proj_weight, attend.in_proj_bias).chunk(3, dim=2)
    )
    weights = (q[:, :, :1] @ k.mT / 2).softmax(dim=-1)
    out = attend.out_proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(reading.vectors, module.embedding(x, query).unsqueeze(1) + out)
    row = weights.mean(dim=1)[:, 0, 1:]
    torch.testing.assert_close(reading.masks[0].flatten(1), row / row.sum(dim=1, keepdim=True))


def test_ltpa_knows_two_compatibilities():
    with pytest.raises(ValueError, match="dot or parametrised"):
        GlobalLocalReadout(5, 4, "cosine")
