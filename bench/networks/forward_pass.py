"""One forward pass of a network: how rows map to questions, and the maps and features so far.

Shapes: B images, T questions, C channels, H × W positions.
"""

from typing import Protocol

from torch import Tensor, nn

from bench.attention.base import ImageIndex, Reading, Readout, SlotFeatures, repeat_for_questions
from bench.attention.layers import normalize_map
from bench.attention.slot import Layout
from bench.attention.warps import compose_frame, warp_to_image
from bench.networks.output import Output


class NetworkParts(Protocol):
    """What a forward pass reads of a network, see `bench.networks.base.SlotNetwork`."""

    layout: Layout
    queries: int
    query_slots: set[int]
    gates: nn.ModuleDict
    readout: Readout
    head: nn.Module


class ForwardPass:
    """The state of a forward pass. Features have one row per image, until a mechanism uses the query.

    Args:
        network: the slots, mechanisms and classifier.
        images: (B, 3, H, W).
        query: one-hot, (T, Q).
        image_index: the image that each question is about.
    """

    def __init__(self, network: NetworkParts, images: Tensor, query: Tensor, image_index: ImageIndex) -> None:
        self.network, self.query, self.image_index = network, query, image_index
        self.no_query = query.new_zeros(len(images), network.queries)  # for slots that ignore the query
        self.rows = image_index  # how rows of features map to questions: None as soon as there is one per question
        self.image_levels = 0  # number of levels whose features have one row per image
        self.features: list[Tensor] = []
        self.frame: Tensor | None = None
        self.frames: list[Tensor | None] = []
        self.masks: list[Tensor] = []
        self.slots: list[int] = []

    def gate(self, slot: int, x: Tensor) -> Tensor:
        """Return the features after a slot of the kind "gate" or "scale", and keep them for the readout.

        Args:
            slot: index of the slot. If it is empty, x is returned unchanged.
            x: features, (B, C, H, W) or (T, C, H, W).
        """
        x, self.frame = self._attend(slot, x)
        self.keep(slot, x)
        return x

    def block(self, slot: int, x: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of a residual branch after a slot of the kind "block", and the identity.

        If the mechanism is the first one that uses the query, both get one row per question. The caller adds them, and
        calls `keep` with the sum.

        Args:
            slot: index of the slot. If it is empty, both are returned unchanged.
            x: features of the branch, before the sum.
            identity: the other term of the sum.
        """
        rows = self.rows
        x, _ = self._attend(slot, x)  # features that were resampled join others that were not: no frame follows
        return x, identity if self.rows is rows else repeat_for_questions(identity, rows)

    def keep(self, slot: int, x: Tensor) -> None:
        """Keep the features after a slot, if it is a level that readouts read."""
        if slot in self.network.layout.levels:
            self.features.append(x)
            self.frames.append(self.frame)

    def _attend(self, slot: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the features after the mechanism of a slot, if there is one, and their frame."""
        if str(slot) not in self.network.gates:
            return x, self.frame
        here = self.rows if slot in self.network.query_slots else None
        # 1 question per row is the same as None, but lets the gate use the kernel for several questions.
        per_row = 1 if here is None and self.image_index is not None else here
        query = self.no_query if self.rows is not None and here is None else self.query
        x, mask, warp = self.network.gates[str(slot)](x, query, per_row)
        if here is not None:  # from here on, features have one row per question
            self._repeat_frames()
            self.image_levels, self.rows = len(self.features), None
        frame = compose_frame(self.frame, warp)
        if mask is not None:
            self.masks.append(warp_to_image(mask, frame))
            self.slots.append(slot + 1)
        return x, frame

    def _repeat_frames(self) -> None:
        """Repeat frames and maps for each question about an image."""
        self.frame, frames, masks = repeat_for_questions((self.frame, tuple(self.frames), tuple(self.masks)), self.rows)
        self.frames, self.masks = [*frames], [*masks]

    def answer(self, global_feature: Tensor | None = None) -> Output:
        """Return the output of the network after all features have been kept.

        Args:
            global_feature: (B, G) or (T, G), with the rows of the last features; None if the network has none.
        """
        network, levels = self.network, self.network.layout.levels
        features = SlotFeatures(self.features, self.image_levels, self.image_index, global_feature)
        reading = self._read(features)
        if self.rows is not None:
            self._repeat_frames()
        self.frames[-1] = compose_frame(self.frames[-1], reading.warp)
        for k in range(len(levels) - len(reading.masks), len(levels)):
            mask, frame = reading.masks[k - len(levels)], self.frames[k]
            self.masks.append(mask if frame is None else normalize_map(warp_to_image(mask, frame)))
            self.slots.append(levels[k] + 1)
        logits = network.head(reading, self.query)
        power = network.readout.mask_power
        return Output(logits, self.masks, bool(reading.masks), power, tuple(self.slots))

    def _read(self, features: SlotFeatures) -> Reading:
        """Return the output of the readout for each question."""
        network, rows = self.network, self.rows
        if rows is None or len(network.layout.slots) - 1 in network.query_slots:
            return network.readout.read(features, self.query, rows)
        vectors, masks, *others = network.readout(features, self.no_query)
        return Reading(
            repeat_for_questions(vectors, rows),
            list(repeat_for_questions(tuple(masks), rows)),
            *repeat_for_questions(tuple(others), rows),
        )
