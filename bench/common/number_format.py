"""Measured numbers as people read them. Pure."""


def percent(value: float) -> str:
    """Of a share, 0 … 1."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def share(value: float) -> str:
    return f"{value:.3f}"


def more(value: float) -> str:
    """A difference of shares as such, with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def chance(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else share(value)


def ratio(value: float) -> str:
    return f"{value:.2f}"


def count(value: float) -> str:
    return f"{value:,.0f}"


def amount(value: float) -> str:
    """A number with a unit, to three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
