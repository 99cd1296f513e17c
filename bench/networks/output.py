"""The output of a network."""

from typing import NamedTuple

from torch import Tensor
from torch.utils._pytree import _register_namedtuple


class Output(NamedTuple):
    """The output of the network.

    Attributes:
        logits: (B, K); log-probabilities if several vectors answer (`han`).
        masks: attention maps as they lie in the image, shallow to deep, (B, 1, h, w) each; [] if there are none. Values
            are in 0 … 1; the map of the last slot sums to 1.
        last_mask: whether the last slot has a map.
        mask_power: exponent of the product of the maps before it is measured.
        slots: the slot of each map, 1 … S.
    """

    logits: Tensor
    masks: list[Tensor]
    last_mask: bool = True
    mask_power: float = 1.0
    slots: tuple[int, ...] = ()


_register_namedtuple(Output, serialized_type_name="bench.model.Output")  # lets torch.export save and load it
