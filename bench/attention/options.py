"""Checks of options. A module raises ValueError when it is constructed; the registry turns it into a usage error."""


def require_at_least_one(**options: int) -> None:
    """Raise ValueError if one of the options (widths, counts, sizes) is below 1."""
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"{name}={value}: give 1 or more")
