"""Modules and functions as networks: forms of outputs, gradients, shared images, and wrong outputs."""

import numpy as np
import pytest
import torch
from torch import nn

from bench.evaluation.any_model import AnyModel, as_network, require_fitting
from bench.model import Output, create_model

IMAGES, QUERY = torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])


def logits_of(images, query):
    return torch.stack([images.mean((1, 2, 3)), query.float()], dim=1)


def output_of(model, classes: int = 2) -> Output:
    return AnyModel(model, classes)(IMAGES, QUERY)


@pytest.mark.parametrize(
    ("model", "maps"),
    [
        (logits_of, 0),
        (lambda images, query: logits_of(images, query).numpy(), 0),
        (lambda images, query: (logits_of(images, query), None), 0),
        (lambda images, query: (logits_of(images, query), images.mean(1)), 1),
        (lambda images, query: (logits_of(images, query), [images[:, :1], images[:, 1, ::2, ::2]]), 2),
        (lambda images, query: Output(logits_of(images, query), [images[:, :1]]), 1),
        (lambda images, query: (logits_of(images, query).tolist() and logits_of(images, query).double(), []), 0),
    ],
    ids=["logits", "NumPy", "no map", "a map", "two maps", "an Output", "double precision"],
)
def test_every_form_of_output_gives_logits_and_maps(model, maps):
    out = output_of(model)
    torch.testing.assert_close(out.logits.float(), logits_of(IMAGES, QUERY))
    assert len(out.masks) == maps
    assert all(mask.ndim == 4 and mask.shape[:2] == (3, 1) for mask in out.masks)
    assert out.slots == tuple(range(1, maps + 1))


def test_maps_alone_have_no_answers():
    network = AnyModel(lambda images, query: [images.mean(1).numpy()], 2)
    assert network.has_answers is None
    out = network(IMAGES, QUERY)
    assert network.has_answers is False
    assert torch.equal(out.logits, torch.zeros(3, 2))
    torch.testing.assert_close(out.masks[0][:, 0], IMAGES.mean(1))


def test_images_are_repeated_for_several_questions():
    index = torch.tensor([2, 0, 2, 1])
    out = AnyModel(logits_of, 2)(IMAGES, torch.tensor([5, 6, 7, 8]), index)
    torch.testing.assert_close(out.logits, logits_of(IMAGES[index], torch.tensor([5, 6, 7, 8])))


def test_a_function_may_use_gradients_and_change_its_images():
    def model(images, query):
        images.requires_grad_()
        logits = logits_of(images, query)
        (slope,) = torch.autograd.grad(logits.sum(), images)
        with torch.no_grad():
            images.zero_()
        return logits, slope.abs().mean(1)

    before = IMAGES.clone()
    with torch.inference_mode():
        out = output_of(model)
    assert torch.equal(IMAGES, before)
    assert not out.logits.requires_grad
    torch.testing.assert_close(out.masks[0], torch.full((3, 1, 8, 12), 1 / 288))


def test_logits_keep_their_graph_if_it_is_needed():
    network = AnyModel(logits_of, 2)
    network.keeps_gradients = True
    images = IMAGES.clone().requires_grad_()
    network(images, QUERY).logits.sum().backward()
    torch.testing.assert_close(images.grad, torch.full_like(images, 1 / 288))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.zeros(3, 4), r"the logits have shape \(3, 4\), expected \(3, 2\)"),
        (torch.zeros(2, 2), r"the logits have shape \(2, 2\), expected \(3, 2\)"),
        (3, "the model returned a int"),
        ((torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 2)), "a tuple of 3: Tensor"),
        ([], "the model returned a list of 0"),
        (np.zeros(3), r"ndarray \(3,\)"),
    ],
    ids=["classes", "images", "a number", "three", "nothing", "one axis"],
)
def test_wrong_outputs_are_refused_with_what_is_expected(returned, message):
    with pytest.raises(ValueError, match=message):
        output_of(lambda images, query: returned)


def test_logits_for_some_batches_only_are_refused():
    network = AnyModel(lambda images, query: logits_of(images, query) if len(query) > 2 else images.mean(1), 2)
    network(IMAGES, QUERY)
    with pytest.raises(ValueError, match="logits for some batches only"):
        network(IMAGES[:2], QUERY[:2])


def test_a_network_of_bench_is_used_as_it_is():
    model = create_model("none", variant="mini")
    assert as_network(model, 5) is model
    other = as_network(nn.Identity(), 5)
    assert isinstance(other, AnyModel)
    assert as_network(other, 5) is other
    with pytest.raises(ValueError, match="a model as str: pass a module or a function"):
        as_network("pan", 5)


def test_a_network_of_bench_must_have_the_classes_and_queries_of_the_data():
    model = create_model("none", variant="mini")
    require_fitting(model, model.classes, model.queries)
    require_fitting(lambda images: images, 3, 4)
    for classes, queries in ((model.classes + 1, model.queries), (model.classes, 0)):
        with pytest.raises(ValueError, match=rf"the network has 10 queries and 5 classes, .* {queries} and {classes}:"):
            require_fitting(model, classes, queries)
