"""Entry point of the program `mnistref` and of `python -m mnistref`."""

from mnistref.common.sigint import die_quietly


def main() -> None:
    """Run the command line and exit. From the first import on, Ctrl-C ends the program without a traceback."""
    die_quietly()
    from mnistref.cli import mnistref
    from mnistref.common.console import run_program

    run_program(mnistref)


if __name__ == "__main__":
    main()
