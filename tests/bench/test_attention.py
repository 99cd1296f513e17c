"""What holds for every mechanism, taken from the registry, and what is particular to some."""

import pytest
import torch

import bench
from bench import attention
from bench.attention import MECHANISMS, AttentionRNN, canonical_name, slots_of
from bench.attention.base import Gate, QueryEmbedding, SoftmaxReadout
from bench.attention.pan import QueryScore
from mnistref.errors import UsageProblemError

SCORES = [name for name, m in MECHANISMS.items() if m.target]
SIZES = [(6, 6), (1, 9), (9, 1), (1, 1), (7, 13)]


def score_of(name: str, last: bool = False, channels: int = 5, query_dim: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    return MECHANISMS[name].score(channels, query_dim, last).double()


def inputs(height: int, width: int, batch: int = 3, channels: int = 5, query_dim: int = 4):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    return x, torch.eye(query_dim, dtype=torch.float64)[torch.arange(batch) % query_dim]


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_score_is_a_map_of_the_features_size(name, last, height, width, batch):
    score = score_of(name, last)(*inputs(height, width, batch))
    assert score.shape == (batch, 1, height, width)
    assert score.isfinite().all()


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("last", [False, True])
def test_a_finite_gradient_reaches_every_parameter_and_the_features(name, last):
    module = score_of(name, last)
    x, query = inputs(5, 6)
    x.requires_grad_()
    readout = SoftmaxReadout(module) if last else Gate(module, 5).double()
    out = readout(x, query)
    vectors = out.vectors if last else out.features
    (
        vectors * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ).sum().backward()
    for parameter_name, parameter in [*readout.named_parameters(), ("x", x)]:
        if last and parameter_name.endswith(SHIFTS):
            continue  # softmax does not see a constant added to every score
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 1e-12, parameter_name


SHIFTS = ("score.score.bias", "score.combine.bias")


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("last", [False, True])
def test_gradcheck(name, last):
    module = score_of(name, last)
    x, query = inputs(3, 4, batch=2)
    assert torch.autograd.gradcheck(lambda x: module(x, query), x.requires_grad_())


@pytest.mark.parametrize("name", SCORES)
def test_an_image_scores_the_same_alone_and_in_a_batch(name):
    module = score_of(name)
    x, query = inputs(6, 5, batch=4)
    together = module(x, query)
    for k in range(4):
        torch.testing.assert_close(module(x[k : k + 1], query[k : k + 1]), together[k : k + 1])


@pytest.mark.parametrize("name", SCORES)
def test_the_query_matters(name):
    module = score_of(name)
    x, query = inputs(6, 5, batch=2)
    assert (module(x, query) - module(x, query.roll(1, dims=1))).abs().max() > 1e-6


@pytest.mark.parametrize("name", SCORES)
def test_it_works_without_a_query(name):
    torch.manual_seed(0)
    module = MECHANISMS[name].score(5, 0, last=False)
    assert module(torch.randn(2, 5, 4, 4)).shape == (2, 1, 4, 4)


@pytest.mark.parametrize("name", SCORES)
def test_a_missing_query_is_an_error(name):
    with pytest.raises(ValueError, match="got none"):
        score_of(name)(inputs(3, 3)[0])


@pytest.mark.parametrize("attn", [*MECHANISMS, "none,arnn", "pan,none,san", "none,none,none,pan"])
@pytest.mark.parametrize(
    ("variant", "maps"), [("mref", [50, 25, 12, 6]), ("mbginv", [50, 25, 12, 6]), ("mini", [24, 12, 6, 3])]
)
def test_the_network_on_every_variant(attn, variant, maps):
    torch.manual_seed(0)
    model = bench.create_model(attn, variant=variant)
    size = {"mini": 48}.get(variant, 100)
    queries, classes = (5, 10) if variant == "mbginv" else (10, 5)
    images, query = torch.rand(3, 3, size, size), torch.tensor([0, 1, queries - 1])
    out = model(images, query)
    assert out.logits.shape == (3, classes)
    filled = [k for k, m in enumerate(slots_of(attn, 4)) if m.target]
    assert [tuple(m.shape) for m in out.masks] == [(3, 1, maps[k], maps[k]) for k in filled]
    for mask in out.masks:
        assert (mask >= 0).all()
        assert (mask <= 1).all()
    if 3 in filled:
        torch.testing.assert_close(out.masks[-1].sum(dim=(1, 2, 3)), torch.ones(3))
    torch.nn.functional.cross_entropy(out.logits, torch.tensor([0, 1, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0 or name.endswith(SHIFTS), name


@pytest.mark.parametrize("attn", MECHANISMS)
def test_the_network_at_224_px_has_five_slots(attn):
    model = bench.create_model(attn, variant="mbgb").eval()
    out = model(torch.rand(1, 3, 224, 224), torch.tensor([3]))
    sizes = [112, 56, 28, 14, 7]
    assert [m.shape[-1] for m in out.masks] == [sizes[k] for k, m in enumerate(slots_of(attn, 5)) if m.target]


@pytest.mark.parametrize("attn", MECHANISMS)
def test_evaluation_is_deterministic_and_alike_in_a_batch(attn):
    torch.manual_seed(0)
    model = bench.create_model(attn, variant="mini").eval()
    images, query = torch.rand(4, 3, 48, 48), torch.tensor([1, 2, 3, 4])
    together = model(images, query).logits
    assert torch.equal(model(images, query).logits, together)
    for k in range(4):
        torch.testing.assert_close(
            model(images[k : k + 1], query[k : k + 1]).logits, together[k : k + 1], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("attn", MECHANISMS)
def test_state_dict_round_trip(attn):
    torch.manual_seed(0)
    model, other = (bench.create_model(attn, variant="mini").eval() for _ in range(2))
    other.load_state_dict(model.state_dict())
    images, query = torch.rand(2, 3, 48, 48), torch.tensor([1, 2])
    assert torch.equal(model(images, query).logits, other(images, query).logits)


def test_with_one_seed_the_backbone_starts_alike():
    models = []
    for attn in ("san", "pan-ctx", "arnn"):
        torch.manual_seed(7)
        models.append(bench.create_model(attn, variant="mref"))
    for other in models[1:]:
        for a, b in zip(
            (*models[0].stages.parameters(), *models[0].head.parameters()),
            (*other.stages.parameters(), *other.head.parameters()),
            strict=True,
        ):
            assert torch.equal(a, b)


def test_a_gate_multiplies_then_normalises_and_a_readout_averages():
    x, query = inputs(4, 3)
    score = score_of("pan")
    gate, a = Gate(score, 5).double(), score(x, query).sigmoid()
    torch.testing.assert_close(gate(x, query).mask, a)
    product = x * a
    mean, variance = product.mean(dim=(0, 2, 3)), product.var(dim=(0, 2, 3), unbiased=False)
    expected = (product - mean[:, None, None]) / (variance[:, None, None] + 0.01).sqrt()
    torch.testing.assert_close(gate(x, query).features, expected)
    reading = SoftmaxReadout(score)(x, query)
    weight = torch.exp(score(x, query))
    weight = weight / weight.sum(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(reading.mask, weight)
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


def test_query_embedding_has_no_bias():
    embedding = QueryEmbedding(4, 6)
    assert [name for name, _ in embedding.named_parameters()] == ["linear.weight"]


def test_slot_lists():
    def names(attn: str, stages: int = 4) -> list[str]:
        return [m.name for m in slots_of(attn, stages)]

    assert names("arnn") == ["arnn"] * 4
    assert names("none,arnn", 5) == ["none"] + ["arnn"] * 4
    assert names("san") == ["none", "none", "none", "san"]
    assert names("pan,san") == ["pan", "none", "none", "san"]
    assert names("noctx") == ["pan"] * 4
    assert canonical_name(" ctx , arnn,arnn") == "pan-ctx,arnn"
    assert canonical_name("none,none,san") == "san"
    with pytest.raises(UsageProblemError, match="san acts in the last slot alone"):
        names("san,arnn")
    with pytest.raises(UsageProblemError, match="5 slots; this network has 4"):
        names("pan,pan-ctx,pan,pan-ctx,pan")
    with pytest.raises(UsageProblemError, match="did you mean 'arnn'"):
        names("arn")


def test_wrong_queries_raise():
    model = bench.create_model("pan", variant="mini")
    with pytest.raises(RuntimeError):
        model(torch.rand(1, 3, 48, 48), torch.tensor([10]))
