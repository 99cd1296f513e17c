"""Networks under transforms, exported and saved: per-image gradients, and programs of every mechanism."""

import io
import warnings

import pytest
import torch
from torch.func import functional_call, grad, vmap

import bench
from bench.attention import MECHANISMS, AttentionRNN
from tests.helpers import FAMILIES, long_form

IMAGES = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))
QUERY = torch.tensor([1, 2, 9])


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


@pytest.mark.parametrize("name", long_form(MECHANISMS, FAMILIES[::3]))
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
