"""Version of the distribution, which every record stores as `bench_version`, and versions of other packages."""

VERSION = "0.2.0"


def versions_of(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Return the versions of installed packages by name, None for a package that is not installed."""
    from importlib.metadata import (  # imported here: importing it slows the start of a program
        PackageNotFoundError,
        version,
    )

    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
