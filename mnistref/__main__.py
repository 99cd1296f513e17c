"""Entry point of the program `mnistref` and of `python -m mnistref`."""

from mnistref.common.sigint import exit_silently_on_sigint


def main() -> None:
    """Run the command line and exit. From the first import on, Ctrl-C ends the program without a traceback."""
    exit_silently_on_sigint()
    from mnistref.cli import mnistref
    from mnistref.common.console import run_program

    run_program(mnistref)


if __name__ == "__main__":
    main()
