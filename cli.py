"""Command line of a checkout: `python cli.py bench …` and `python cli.py mnistref …`, without an installation.

Standard output carries results only. Messages, progress bars and errors go to standard error.
"""

if __name__ == "__main__":
    from mnistref.common.sigint import exit_silently_on_sigint

    exit_silently_on_sigint()  # before the slow imports below

import click

from bench.cli.main import bench
from mnistref.cli import mnistref
from mnistref.common.click_program import Program
from mnistref.common.console import run_program


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
def both() -> None:
    """Run mnistref, which generates data sets, or bench, which measures attention modules on them."""


both.add_command(mnistref)
both.add_command(bench)

if __name__ == "__main__":
    run_program(both)
