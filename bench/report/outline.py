"""Outlines of digits as SVG paths. Pure."""

import numpy as np


def outline(mask: np.ndarray, n: int) -> str:
    """Return the edges of the ink as an SVG path in pixels.

    Args:
        mask: bool (H, n·H), n squares side by side. Each square has its own outline.
        n: number of squares.
    """
    side = mask.shape[0]
    parts = []
    for k in range(n):
        inside = np.pad(mask[:, k * side : (k + 1) * side], 1)
        horizontal = inside[1:, 1:-1] != inside[:-1, 1:-1]  # (H + 1, H), the edges above and below pixels
        vertical = (inside[1:-1, 1:] != inside[1:-1, :-1]).T  # (H + 1, H), by column
        parts += [f"M{k * side + start},{y}h{length}" for y, start, length in _runs(horizontal)]
        parts += [f"M{k * side + x},{start}v{length}" for x, start, length in _runs(vertical)]
    return "".join(parts)


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the line, the start and the length of each run of edges in the lines of a bool array."""
    changes = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(changes == 1), np.argwhere(changes == -1)
    return [(int(line), int(start), int(end - start)) for (line, start), (_, end) in zip(starts, ends, strict=True)]
