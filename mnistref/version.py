"""The version of the distribution, `bench_version` in every record, and those of other packages."""

VERSION = "0.1.0"


def versions_of(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Return the versions of installed packages by name, None for a package that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # which a program's start need not wait for

    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
