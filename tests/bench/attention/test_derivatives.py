"""Second, forward-mode and per-image derivatives of `self` and of networks; any mechanism is exported and saved."""

import io
import warnings

import pytest
import torch
from torch.autograd import forward_ad, gradgradcheck
from torch.func import functional_call, grad, jacrev, jvp, vmap

import bench
from bench.attention import MECHANISMS, AttentionRNN
from bench.attention.layers import one_hot
from bench.attention.selfattention import SelfAttentionReadout

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, QUERY = torch.rand(3, 3, 32, 48, generator=GENERATOR), torch.tensor([1, 2, 9])


def test_self_attention_can_be_differentiated_twice():
    torch.manual_seed(0)
    readout = SelfAttentionReadout(4, 3, heads=2).double()
    x = torch.randn(2, 4, 2, 2, generator=GENERATOR, dtype=torch.double)
    query = torch.eye(3, dtype=torch.double)[:2]

    def both(x, query, *parameters):
        named = dict(zip(dict(readout.named_parameters()), parameters, strict=True))
        reading = functional_call(readout, named, ([x], query))
        return reading.vectors, reading.masks[0]

    parameters = [p.detach().clone().requires_grad_() for p in readout.parameters()]
    assert gradgradcheck(both, (x.requires_grad_(), query.requires_grad_(), *parameters), fast_mode=True)


@pytest.mark.parametrize("training", [False, True])
def test_gradient_penalty_of_self_attention_reaches_every_parameter(training):
    model = bench.create_model("self", variant="mini").train(training)
    images = IMAGES.clone().requires_grad_()
    out = model(images, QUERY)
    loss = out.logits.square().sum() + out.masks[-1].square().sum()
    (gradient,) = torch.autograd.grad(loss, images, create_graph=True)
    gradient.square().sum().backward()
    assert model.readout.attends[0].in_proj_weight.grad.abs().max() > 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_self_attention_readout_equals_torch_multihead_attention():
    torch.manual_seed(0)
    readout, x, query = SelfAttentionReadout(8, 3), torch.randn(2, 8, 3, 4), torch.eye(3)[:2]
    asked = readout.embedding(x, query) + readout.start
    tokens = torch.cat([asked.unsqueeze(1), x.flatten(2).transpose(1, 2)], dim=1)
    seen = readout.norms[0](tokens)
    tokens = tokens + readout.attends[0](seen, seen, seen, need_weights=False)[0]
    seen = readout.norms[1](tokens)
    out, weights = readout.attends[1](seen[:, :1], seen, seen)
    reading = readout([x], query)
    torch.testing.assert_close(reading.vectors, tokens[:, :1] + out)
    mask = weights[:, 0, 1:].view(2, 1, 3, 4)
    torch.testing.assert_close(reading.masks[0], mask / mask.sum((2, 3), keepdim=True))


@pytest.mark.parametrize("frozen", [False, True])
def test_self_attention_has_forward_mode_derivatives(frozen):
    model = bench.create_model("self", variant="mini").double().eval().requires_grad_(not frozen)
    x, ones = IMAGES[:1].double(), torch.ones_like(IMAGES[:1]).double()
    wanted = jacrev(lambda x: model(x, QUERY[:1]).logits)(x).sum((2, 3, 4, 5))
    _, tangent = jvp(lambda x: model(x, QUERY[:1]).logits, (x,), (ones,))
    torch.testing.assert_close(tangent, wanted)
    with forward_ad.dual_level(), torch.no_grad():
        out = model(forward_ad.make_dual(x, ones), QUERY[:1])
        torch.testing.assert_close(forward_ad.unpack_dual(out.logits).tangent, wanted)


@pytest.mark.parametrize("name", ["self", "pan", "none"])
def test_per_image_gradients_equal_gradients_of_single_images(name):
    model = bench.create_model(name, variant="mini").eval()
    parameters = {key: value.detach() for key, value in model.named_parameters()}

    def loss(parameters, image, query):
        return functional_call(model, parameters, (image[None], query[None])).logits.square().sum()

    each = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, IMAGES, QUERY)
    for k in range(len(IMAGES)):
        model.zero_grad()
        model(IMAGES[k : k + 1], QUERY[k : k + 1]).logits.square().sum().backward()
        for key, parameter in model.named_parameters():
            torch.testing.assert_close(each[key][k], parameter.grad, rtol=1e-3, atol=1e-6, msg=key)


def test_missing_query_is_detected_inside_transforms():
    hot = vmap(lambda query: one_hot(query[None], 10, IMAGES)[0])(torch.tensor([3, 10, -1]))
    assert torch.equal(hot[0], one_hot(torch.tensor([3]), 10, IMAGES)[0])
    assert hot[1:].isnan().all()
    with pytest.raises(RuntimeError):
        one_hot(torch.tensor([10]), 10, IMAGES)


@pytest.mark.parametrize("name", MECHANISMS)
def test_networks_with_every_mechanism_can_be_exported_and_saved(name):
    """Export unrolls an LSTM, so its map has 1 × 2 positions; others have 2 × 3 and 1 × 1. Files are loaded again."""
    torch.manual_seed(0)
    mechanism = MECHANISMS[name]
    slow = any(isinstance(part, AttentionRNN) for part in bench.create_model(name, variant="mini").modules())
    before = "none" if mechanism.last_only else name
    model = bench.AttributeCNN(*((name, 5, 10, 1) if slow else (f"none,{before},{name}", 5, 10, 3))).eval()
    inputs = (IMAGES[:2, :, :2, :4] if slow else IMAGES[:2, :, :8, :12], QUERY[:2])
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, inputs)
        torch.export.save(program, file)
        assert len(file.getvalue()) > 1000
        file.seek(0)
        exported = program.module() if slow else torch.export.load(file).module()
    torch.manual_seed(1)  # of the sampled ones
    found = exported(*inputs)
    torch.manual_seed(1)
    wanted = model(*inputs)
    torch.testing.assert_close(found.logits, wanted.logits)
    torch.testing.assert_close(found.masks, wanted.masks)
    assert found[2:] == wanted[2:]
