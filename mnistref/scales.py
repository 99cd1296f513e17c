"""Scales of digits in integers. Pure.

A scale is rounded to a multiple of 2⁻²¹, which is exact in float32, so `side = floor(28 · scale)` holds exactly.
"""

SCALE_BITS = 21


def scale_units(scale: float) -> int:
    """Return a scale in units of 2⁻²¹, rounded."""
    return round(scale * (1 << SCALE_BITS))


def side_at(base: int, scale: float) -> int:
    """Return the side in pixels of a patch at a scale, floor(base · scale), as it is drawn.

    The scale is rounded first, so that a patch of 5 pixels at scale 0.2 has no pixel.

    Args:
        base: the side of the patch at scale 1.
        scale: the scale.
    """
    return (base * scale_units(scale)) >> SCALE_BITS
