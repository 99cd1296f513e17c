"""Readouts that belong to a network, not to a mechanism."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from bench.attention.base import ImageIndex, Reading, Readout, SlotFeatures


class GlobalReadout(Readout):
    """No attention in a network with a global feature: the classifier reads that feature."""

    uses_global = True

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        """Return the global feature of `SlotFeatures`. The query is ignored."""
        feature = cast(SlotFeatures, features).global_feature
        assert feature is not None
        return Reading(feature.unsqueeze(1), [])


class ProjectedReadout(Readout):
    """A readout that expects the same channels in every slot, over slots with different channels.

    Each slot with other channels than the last one is projected to these by a 1×1 convolution.

    Args:
        readout: reads the features of `len(channels)` slots.
        channels: channels of each of these slots, shallow to deep.
    """

    def __init__(self, readout: Readout, channels: Sequence[int]) -> None:
        super().__init__()
        self.readout = readout
        self.levels, self.mask_power, self.uses_global = readout.levels, readout.mask_power, readout.uses_global
        different = {k: each for k, each in enumerate(channels) if each != channels[-1]}
        self.project = nn.ModuleDict({str(k): nn.Conv2d(each, channels[-1], 1) for k, each in different.items()})

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        """Return the classifier's input, see `Readout.forward`."""
        return self.read(features, query, None)

    def read(self, features: Sequence[Tensor], query: Tensor, image_index: ImageIndex) -> Reading:
        """Return the classifier's input for T questions, see `Readout.read`."""
        used = features[len(features) - self.levels :]
        projected = [self.project[str(k)](x) if str(k) in self.project else x for k, x in enumerate(used)]
        feature = getattr(features, "global_feature", None)
        return self.readout.read(SlotFeatures(projected, 0, None, feature), query, image_index)
