"""The program `bench`; `python -m bench` runs it from a checkout."""

from mnistref.common.sigint import exit_silently_on_sigint


def main() -> None:
    """Run the command line and exit. Interrupts are quiet from the first import on."""
    exit_silently_on_sigint()
    from bench.cli.main import bench
    from mnistref.common.console import run_program

    run_program(bench)


if __name__ == "__main__":
    main()
