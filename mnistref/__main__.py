"""The program `mnistref`; `python -m mnistref` runs it from a checkout."""

from mnistref.common.sigint import die_quietly


def main() -> None:
    """Run the command line and exit. Interrupts are quiet from the first import on."""
    die_quietly()
    from mnistref.cli import mnistref
    from mnistref.common.console import run_program

    run_program(mnistref)


if __name__ == "__main__":
    main()
