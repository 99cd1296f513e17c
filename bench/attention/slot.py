"""The slots of a network, that is, the places where attention can act. Pure."""

from dataclasses import dataclass

GATE, SCALE, BLOCK, READOUT = "gate", "scale", "block", "readout"
"""The kinds of slots, see `Slot`."""


@dataclass(frozen=True)
class Slot:
    """A place where a mechanism can act.

    Attributes:
        name: the name in lists and tables.
        channels: C, channels of the features.
        size: height and width of the features in positions.
        kind: "gate": the features are multiplied by the map, then BatchNorm follows; "scale": the same without a norm;
            "block": the features of the branch of a residual block are multiplied by the map before the sum, and no
            norm follows; "readout": the features are pooled for the classifier.
    """

    name: str
    channels: int
    size: tuple[int, int]
    kind: str


@dataclass(frozen=True)
class Layout:
    """The slots of a network for images of one size.

    Attributes:
        slots: shallow to deep; the last one is the readout.
        levels: indices of the slots whose output features a readout of several levels reads, shallow to deep. In a
            residual network, these are the outputs of the stages.
        global_channels: width of the global feature that the network gives its readout; 0 if it has none.
    """

    slots: tuple[Slot, ...]
    levels: tuple[int, ...]
    global_channels: int = 0

    @property
    def has_blocks(self) -> bool:
        """Whether a slot is inside a residual block."""
        return any(slot.kind == BLOCK for slot in self.slots)

    def level_channels(self, levels: int) -> tuple[int, ...]:
        """Return the channels of the last levels, this many in number, shallow to deep."""
        return tuple(self.slots[k].channels for k in self.levels[-levels:])
