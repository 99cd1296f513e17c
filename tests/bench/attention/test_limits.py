"""Modules in half precision, with empty batches, on other devices, under transforms and in exported programs."""

import copy
import subprocess
import sys
import warnings

import pytest
import torch
from click.testing import CliRunner
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vmap

import bench
import cli
from bench.attention import MECHANISMS, AttentionRNN
from bench.attention.base import Readout
from tests.helpers import TOP

IMAGES, QUERY = torch.rand(2, 3, 48, 48), torch.tensor([1, 2])


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


@pytest.mark.parametrize("name", MECHANISMS)
def test_output_shapes_are_computed_on_the_meta_device(name):
    model = bench.create_model(name, variant="mini").eval()
    shapes = [t.shape for t in tensors(model(IMAGES, QUERY))]
    found = model.to("meta")(IMAGES.to("meta"), QUERY.to("meta"))
    assert [t.shape for t in tensors(found)] == shapes
    assert {t.device.type for t in tensors(found)} == {"meta"}


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


def test_exported_networks_need_no_custom_operators(layer, tmp_path):
    torch.testing.assert_close(exported(layer.eval(), (X,), tmp_path), [layer(X)], rtol=1e-4, atol=1e-5)
    model = bench.create_model("pan", variant="mini").eval()
    out = model(IMAGES, QUERY)
    found = exported(model, (IMAGES, QUERY), tmp_path)
    torch.testing.assert_close(found, [out.logits, *out.masks], rtol=1e-4, atol=1e-5)


@pytest.fixture
def few(make):
    return make("mini", sizes={"train": 20, "val": 10, "test": 10})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "1"], "1 is not in the range x>=2"),
        (["--batch", "21", "--questions", "one"], "has 20 training questions; give 20 or fewer"),
        (["--batch", "21", "--queries", "author"], "training images; give "),
        (["--batch", "999", "--queries", "all", "--questions", "one"], "training questions; give "),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_impossible_batch_size_is_refused_before_training(command, options, words, few, tmp_path):
    arguments = [command, "--attn", "se", "--data", str(few), "--runs", str(tmp_path / "runs"), *options]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert not (tmp_path / "runs").exists()


def test_data_set_with_one_training_question_is_refused(make, tmp_path):
    tiny = make("mini", sizes={"train": 1, "val": 1, "test": 1})
    done = CliRunner().invoke(cli.bench, ["run", "--attn", "se", "--data", str(tiny), "--batch", "2"])
    assert done.exit_code == 2
    assert "has 1 training image; make a larger data set: a step needs 2" in done.stderr


def test_a_batch_larger_than_the_data_set_reports_the_size_of_a_step(few, tmp_path):
    arguments = ["run", "--attn", "none", "--data", str(few), "--runs", str(tmp_path), "--epochs", "1"]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 0, done.output
    assert "the batch is 20 images instead of 32, because the data set has no more" in done.stderr
