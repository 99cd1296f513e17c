"""Readouts of networks."""

import torch

from bench.attention.base import Reading, Readout, SlotFeatures
from bench.networks.readouts import GlobalReadout, ProjectedReadout


class Means(Readout):
    """The means of the last two slots."""

    levels, mask_power = 2, 0.5

    def forward(self, features, query):
        return Reading(torch.cat([x.mean((2, 3)) for x in features[-2:]], 1).unsqueeze(1), [])


def test_slots_of_other_channels_are_projected():
    torch.manual_seed(0)
    readout = ProjectedReadout(Means(), (3, 5))
    assert ([*readout.project], readout.levels, readout.mask_power) == (["0"], 2, 0.5)
    features = [torch.randn(2, 7, 6, 6), torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    vectors = readout(features, torch.zeros(2, 0)).vectors[:, 0]
    torch.testing.assert_close(vectors[:, :5], readout.project["0"](features[1]).mean((2, 3)))
    torch.testing.assert_close(vectors[:, 5:], features[2].mean((2, 3)))
    repeated = readout.read(features, torch.zeros(3, 0), torch.tensor([1, 1, 0])).vectors[:, 0]
    torch.testing.assert_close(repeated, vectors[[1, 1, 0]])


def test_the_global_feature_is_repeated_for_each_question():
    feature = torch.randn(2, 4)
    features = SlotFeatures([torch.randn(2, 3, 4, 4)], 0, None, feature)
    readout = GlobalReadout()
    assert torch.equal(readout(features, torch.zeros(2, 0)).vectors[:, 0], feature)
    assert torch.equal(readout.read(features, torch.zeros(4, 0), 2).vectors[:, 0], feature[[0, 0, 1, 1]])
