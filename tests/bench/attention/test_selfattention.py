"""Self-attention compared with torch, and its second and forward-mode derivatives."""

import pytest
import torch
from torch.autograd import forward_ad, gradgradcheck
from torch.func import functional_call, jacrev, jvp
from torch.nn import functional as F

import bench
from bench.attention.selfattention import SelfAttentionReadout
from tests.bench.attention.helpers import inputs


def test_self_attention_equals_torch_and_the_map_is_the_query_row():
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
