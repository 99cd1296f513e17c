"""What a network is made of, resolved once from what a user wrote."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.attention.mechanism import Mechanism
from bench.attention.slot import READOUT, Layout, Slot
from mnistref.common.errors import UsageProblemError

ATTRIBUTE = "attribute"
"""The default network, that of the papers: `bench.config.DEFAULT_NETWORK`, which mechanisms may not import."""


def require_slots_exist(attn: str, count: int, slots: int) -> None:
    """Raise an error if a slot list names more slots than the network has.

    Args:
        attn: the slot list.
        count: number of slots that it names.
        slots: number of slots of the network.

    Raises:
        UsageProblemError: there are too many names.
    """
    if count > slots:
        raise UsageProblemError(f"{attn!r}: {count} mechanisms for {slots} slots; name {slots} or fewer")


@dataclass(frozen=True)
class NetworkSpec:
    """The mechanism of each slot, with its options, and the network around them.

    `bench.networks.resolve` makes it. Two specifications are equal if name, width and architecture are: the name
    contains the options, and of a class in a file the digest of the file.

    Attributes:
        name: the slot list as it is written in records.
        width: scales the channels of the network, see `bench.networks`.
        named: the mechanisms of the slot list, shallow to deep. The last one repeats.
        none: the mechanism of a slot without attention.
        written: number of slots that the user wrote, before repetitions were removed.
        architecture: name of the network in `bench.networks`.
        files: of the user's classes, as records store them, see `bench.attention.mechanism.Mechanism`.
    """

    name: str
    width: int
    named: tuple[Mechanism, ...] = field(compare=False, repr=False)
    none: Mechanism = field(compare=False, repr=False)
    written: int = field(default=1, compare=False, repr=False)
    architecture: str = ATTRIBUTE
    files: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def fill(self, layout: Layout) -> list[Mechanism]:
        """Return the mechanism of each slot of a network, shallow to deep.

        The last mechanism of the list repeats. One for the last slot only leaves the other slots empty. In a network
        with slots inside residual blocks, a mechanism does not repeat into the readout, which then averages; a list
        that names every slot names the readout too.

        Raises:
            UsageProblemError: the slot list needs more slots.
        """
        last, total = self.named[-1], len(layout.slots)
        count = max(self.written, len(self.named))
        require_slots_exist(self.name, count, total)
        if last.levels > len(layout.levels):
            raise UsageProblemError(
                f"{self.name!r} uses {last.levels} slots; this network has {len(layout.levels)} slots"
            )
        repeats_into_readout = count == total or not layout.has_blocks

        def acts_in(mechanism: Mechanism, slot: Slot) -> bool:
            if mechanism.last_only:
                return slot.kind == READOUT
            return slot.kind != READOUT or repeats_into_readout

        mechanisms = [*self.named, *[last] * (total - len(self.named))]
        return [m if acts_in(m, slot) else self.none for m, slot in zip(mechanisms, layout.slots, strict=True)]

    @property
    def label(self) -> str:
        """The slot list, preceded by the architecture unless that is the default."""
        return self.name if self.architecture == ATTRIBUTE else f"{self.name} in {self.architecture}"

    @property
    def has_user_module(self) -> bool:
        """Whether a mechanism comes from a file of the user or from another package."""
        return not all(mechanism.shipped for mechanism in self.named)

    @property
    def is_random(self) -> bool:
        """Whether a map is drawn at random in every forward pass, at test too."""
        return any(mechanism.sampled for mechanism in self.named)
