"""Text formats of measured numbers. Pure."""


def percent(value: float) -> str:
    """Return a share in 0 … 1 in percent, without the sign."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def share(value: float) -> str:
    """Return a share in 0 … 1."""
    return f"{value:.3f}"


def more(value: float) -> str:
    """Return a difference of shares, with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def chance(value: float) -> str:
    """Return a p-value."""
    return "< 0.001" if value < 0.001 else share(value)


def ratio(value: float) -> str:
    """Return a ratio."""
    return f"{value:.2f}"


def count(value: float) -> str:
    """Return a count."""
    return f"{value:,.0f}"


def amount(value: float) -> str:
    """Return a quantity that has a unit, to three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rounded(value: float) -> str:
    """Return a quantity rounded to a whole number, without separators."""
    return f"{value:.0f}"


def scientific(value: float) -> str:
    """Return an error with one digit and its power of ten."""
    return f"{value:.0e}"


def describe_duration(seconds: float) -> str:
    """Return a duration for people, rounded: "45 s", "25 min", "3 h 20 min", "2 days 4 h"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"
