"""Entry points of the installed programs: quiet at Ctrl-C before anything large is loaded."""

from mnistref.common.sigint import die_quietly


def mnistref() -> None:
    """Run `mnistref`. Does not return."""
    die_quietly()
    from mnistref.cli import mnistref as program
    from mnistref.common.console import run_program

    run_program(program)


def bench() -> None:
    """Run `bench`. Does not return."""
    die_quietly()
    from bench.cli.main import bench as program
    from mnistref.common.console import run_program

    run_program(program)
