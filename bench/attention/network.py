"""What a network is made of, resolved once from what a user wrote."""

from dataclasses import dataclass, field

from bench.attention.mechanism import Mechanism
from bench.attention.plugins import recorded_files
from mnistref.common.errors import UsageProblemError


def require_slots_exist(attn: str, count: int, stages: int) -> None:
    """Raise an error if a slot list names more slots than the network has.

    Args:
        attn: the slot list.
        count: number of slots that it names.
        stages: number of slots of the network.

    Raises:
        UsageProblemError: there are too many names.
    """
    if count > stages:
        raise UsageProblemError(f"{attn!r}: {count} mechanisms for {stages} slots; name {stages} or fewer")


@dataclass(frozen=True)
class NetworkSpec:
    """The mechanism of each slot, with its options, and the width of the convolutions.

    `bench.attention.resolve_network` makes it. Two specifications are equal if name and width are: the name contains
    the options, and of a class in a file the digest of the file.

    Attributes:
        name: the slot list as it is written in records.
        width: channels of each convolution.
        named: the mechanisms of the slot list, shallow to deep. The last one repeats.
        none: the mechanism of a slot without attention.
        written: number of slots that the user wrote, before repetitions were removed.
    """

    name: str
    width: int
    named: tuple[Mechanism, ...] = field(compare=False, repr=False)
    none: Mechanism = field(compare=False, repr=False)
    written: int = field(default=1, compare=False, repr=False)

    def slots(self, stages: int) -> list[Mechanism]:
        """Return the mechanism of each slot of a network with this number of stages, shallow to deep.

        Raises:
            UsageProblemError: the slot list needs more slots.
        """
        last = self.named[-1]
        count = max(self.written, len(self.named))
        require_slots_exist(self.name, count, stages)
        if last.levels > stages:
            raise UsageProblemError(f"{self.name!r} uses {last.levels} slots; this network has {stages} slots")
        slots = [*self.named, *[last] * (stages - len(self.named))]
        return [self.none if m.last_only and k < stages - 1 else m for k, m in enumerate(slots)]

    @property
    def has_user_module(self) -> bool:
        """Whether a mechanism comes from a file of the user or from another package."""
        return not all(mechanism.shipped for mechanism in self.named)

    @property
    def is_random(self) -> bool:
        """Whether a map is drawn at random in every forward pass, at test too."""
        return any(mechanism.sampled for mechanism in self.named)

    @property
    def files(self) -> dict[str, str]:
        """The files of the user's classes, as records store them, see `bench.attention.plugins.recorded_files`."""
        return recorded_files(self.name)
