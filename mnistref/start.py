"""Where the installed programs begin: quiet at Ctrl-C before anything large is loaded."""

from mnistref.quiet import die_quietly


def mnistref() -> None:
    die_quietly()
    import cli

    cli.mnistref()


def bench() -> None:
    die_quietly()
    import cli

    cli.bench()
