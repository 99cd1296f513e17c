"""The attribute CNN."""

import pytest
import torch

import bench
from bench.model import AttributeCNN
from bench.networks.attribute import number_of_stages


def test_it_is_the_default_and_keeps_its_names():
    model = bench.create_model("pan,san", "mini")
    assert type(model) is AttributeCNN is bench.AttributeCNN
    parts = list(dict.fromkeys(name.split(".")[0] for name in model.state_dict()))
    assert parts == ["stages", "head", "gates", "readout"]
    assert AttributeCNN("san", 5, 10, 3).eval()(torch.rand(1, 3, 8, 8), torch.tensor([2])).logits.shape == (1, 5)


@pytest.mark.parametrize(("side", "sizes"), [(100, [50, 25, 12, 6]), (224, [112, 56, 28, 14, 7])])
def test_maps_have_the_sizes_of_the_layout(side, sizes):
    assert number_of_stages(side) == len(sizes)
    layout = AttributeCNN.layout_of(8, (side, side))
    assert [slot.size for slot in layout.slots] == [(size, size) for size in sizes]
    model = bench.create_model("se", classes=2, queries=0, size=(side, side), width=2).eval()
    seen = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _, __, out: seen.append(out.shape[2] // 2))
    model(torch.rand(1, 3, side, side))
    assert seen == sizes
    assert (model.halvings, model.full_size_channels) == (len(sizes), 2)
