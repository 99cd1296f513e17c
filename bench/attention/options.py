"""What options may be, refused where a module is made: the registry turns a ValueError into a usage error."""


def at_least_one(**options: int) -> None:
    """Widths, counts and sizes."""
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"{name}={value}: give 1 or more")
