"""A network with the maps of a map method."""

import pytest
import torch

import bench
from bench.attribution.class_activation import cam
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.methods import find_method
from bench.visualization.drawing import figure
from bench.visualization.examples import answer_question, iter_image_questions
from bench.visualization.method_maps import MethodMaps
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_manifest

IMAGES, QUERY = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(2, dtype=torch.long)


def build(attn: str):
    torch.manual_seed(0)
    return bench.create_model(attn, classes=3, queries=0, size=(16, 16), width=2, network="resnet18").eval()


def test_answers_are_those_of_the_network_and_the_map_is_that_of_its_answer():
    model = build("cbam")
    with torch.inference_mode():
        out = MethodMaps(model, "cbam", 3, cam)(IMAGES, QUERY)
        logits = model(IMAGES).logits
    assert torch.equal(out.logits, logits)
    expected = cam(ExplainedNetwork(model, 3), IMAGES, QUERY, logits.argmax(1))
    assert [tuple(mask.shape) for mask in out.masks] == [(2, 1, 2, 2)]
    assert torch.equal(out.masks[0][:, 0], expected)
    assert (out.slots, out.mask_power) == ((0,), 1.0)


def test_methods_that_need_gradients_work_without_gradient_mode():
    pytest.importorskip("captum")
    network = MethodMaps(build("none"), "none", 3, find_method("gradient"))
    with torch.inference_mode():
        (found,) = network(IMAGES, QUERY).masks
    assert (found > 0).any()


def test_a_network_without_such_a_map_is_an_error():
    message = "san has no class activation map, because .*; choose another method with --map"
    with pytest.raises(UsageProblemError, match=message):
        MethodMaps(build("san"), "san", 3, cam)(IMAGES, QUERY)


def test_the_picture_has_one_panel_for_the_map_and_no_product(mini):
    pytest.importorskip("matplotlib")
    torch.manual_seed(0)
    model = bench.create_model("none", "mini", network="resnet18", width=2).eval()
    (question,) = iter_image_questions(mini, [0])
    (row,) = answer_question(MethodMaps(model, "none", 5, cam), question, read_manifest(mini), 1, 0)
    titles = [axes.get_title() for axes in figure([row], ["title"], []).axes]
    assert [title for title in titles if title] == ["input", "map, 6×6"]
    assert 0 < row.correctness < 1
