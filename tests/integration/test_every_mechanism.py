"""Modules in half precision, with empty batches, on other devices, under transforms and in exported programs."""

import subprocess
import sys
import warnings

import pytest
import torch

import bench
from bench.attention import MECHANISMS, AttentionRNN
from bench.attention.base import Readout
from tests.helpers import FAMILIES, TOP, long_form

IMAGES, QUERY = torch.rand(2, 3, 48, 48), torch.tensor([1, 2])
X = torch.randn(3, 4, 4, 5, generator=torch.Generator().manual_seed(0))


def tensors(out) -> list[torch.Tensor]:
    """Return every tensor of a module's output."""
    if isinstance(out, torch.Tensor):
        return [out]
    return [t for part in out if isinstance(part, torch.Tensor | tuple | list) for t in tensors(part)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", MECHANISMS)
def test_a_module_and_its_network_return_the_dtype_that_they_are_given(name, dtype):
    model = bench.create_model(name, variant="mini").to(dtype).eval()
    assert {t.dtype for t in tensors(model(IMAGES.to(dtype), QUERY))} == {dtype}
    if MECHANISMS[name].target:
        module = MECHANISMS[name].build_module(8, 10, last=MECHANISMS[name].last_only).to(dtype).eval()
        x, query = torch.randn(2, 8, 6, 5).to(dtype), torch.eye(10, dtype=dtype)[:2]
        out = module([x.repeat(1, 1, 2, 2)] * 2 + [x] if isinstance(module, Readout) else x, query)
        assert {t.dtype for t in tensors(out)} == {dtype}


@pytest.mark.parametrize("name", MECHANISMS)
def test_empty_batch_has_an_empty_output(name):
    model = bench.create_model(name, variant="mini").eval()
    empty, one = model(IMAGES[:0], QUERY[:0]), model(IMAGES[:1], QUERY[:1])
    assert [t.shape[1:] for t in tensors(empty)] == [t.shape[1:] for t in tensors(one)]
    assert {len(t) for t in tensors(empty)} == {0}
    with pytest.raises(ValueError, match="empty batch: give 2 images or more in training"):
        model.train()(IMAGES[:0], QUERY[:0])


@pytest.mark.parametrize("name", long_form(MECHANISMS, FAMILIES))
def test_output_shapes_are_computed_on_the_meta_device(name):
    model = bench.create_model(name, variant="mini").eval()
    shapes = [t.shape for t in tensors(model(IMAGES, QUERY))]
    found = model.to("meta")(IMAGES.to("meta"), QUERY.to("meta"))
    assert [t.shape for t in tensors(found)] == shapes
    assert {t.device.type for t in tensors(found)} == {"meta"}


def exported(module: torch.nn.Module, inputs: tuple, folder) -> list[torch.Tensor]:
    """Return the outputs of an exported module in a new process, which does not import this package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, inputs), folder / "module.pt2")
    torch.save(inputs, folder / "inputs.pt")
    code = (
        "import sys, torch, bench.model\n"
        "folder = sys.argv[1]\n"
        "out = torch.export.load(folder + '/module.pt2').module()(*torch.load(folder + '/inputs.pt'))\n"
        "assert not [name for name in sys.modules if name.startswith('bench.kernels.diagonal_lstm.numba_op')]\n"
        "torch.save([out] if isinstance(out, torch.Tensor) else [out.logits, *out.masks], folder + '/out.pt')"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(folder)], cwd=TOP, check=True)
    return torch.load(folder / "out.pt")


@pytest.mark.long_form
def test_exported_networks_need_no_custom_operators(tmp_path):
    torch.manual_seed(0)
    layer = AttentionRNN(4, hidden=3, width=5)
    torch.testing.assert_close(exported(layer.eval(), (X,), tmp_path), [layer(X)], rtol=1e-4, atol=1e-5)
    model = bench.create_model("pan", variant="mini").eval()
    out = model(IMAGES, QUERY)
    found = exported(model, (IMAGES, QUERY), tmp_path)
    torch.testing.assert_close(found, [out.logits, *out.masks], rtol=1e-4, atol=1e-5)
