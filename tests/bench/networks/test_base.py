"""What all networks share."""

import pytest
import torch

import bench
from bench.attention.base import AverageReadout, Gate
from bench.networks import NETWORKS, resolve
from bench.networks.readouts import ProjectedReadout
from tests.bench.attention.user_modules import GOOD, TWO_LEVELS, write_module


@pytest.mark.parametrize("network", NETWORKS)
def test_layers_before_slots_have_the_channels_of_the_slots(network):
    model = bench.create_model("none", classes=2, queries=0, size=(16, 16), width=2, network=network).eval()
    seen = {}
    for k in range(len(model.layout.slots)):
        model.layer_before(k).register_forward_hook(lambda _, __, out, k=k: seen.update({k: out.shape[1]}))
    model(torch.rand(1, 3, 16, 16))
    assert [seen[k] for k in range(len(seen))] == [slot.channels for slot in model.layout.slots]
    assert model.explained_layer is model.layer_before(len(seen) - 1)
    assert model.full_size_channels >= 2


def test_a_network_knows_what_it_was_made_from():
    spec = resolve("none,arnn-sampled", 4, "resnet18")
    model = bench.create_model(spec, classes=2, queries=0, size=(16, 16))
    assert model.spec is spec
    assert model.spec.is_random


def test_gates_have_a_norm_and_readouts_of_equal_channels_no_projection(tmp_path):
    own = write_module(tmp_path, GOOD + TWO_LEVELS)
    model = bench.create_model(f"se,{own}:Two", classes=2, queries=0, size=(16, 16), width=4, network="vgg")
    assert isinstance(model.gates["0"], Gate)
    assert not isinstance(model.readout, ProjectedReadout)  # the last two stages have the same channels
    model = bench.create_model(f"{own}:Two", classes=2, queries=0, size=(16, 16), width=4, network="resnet18")
    assert isinstance(model.readout, ProjectedReadout)
    assert model.head.classify.in_features == 2 * 32
    model = bench.create_model("se", classes=2, queries=0, size=(16, 16), width=4, network="resnet18")
    assert isinstance(model.readout, AverageReadout)


def test_an_empty_batch_has_empty_logits_in_evaluation():
    model = bench.create_model("pan", classes=2, queries=0, size=(16, 16), width=4, network="resnet18")
    with pytest.raises(ValueError, match="empty batch"):
        model(torch.rand(0, 3, 16, 16))
    assert model.eval()(torch.rand(0, 3, 16, 16)).logits.shape == (0, 2)
