"""The two programs. `python cli.py bench …` and `python cli.py mnistref …` need no installation.

stdout carries results only; messages, progress and errors go to stderr.
"""

if __name__ == "__main__":
    from mnistref.common.sigint import die_quietly

    die_quietly()  # while the rest is loaded, too

import click

from bench.cli.main import bench
from mnistref.cli import mnistref
from mnistref.common.click_program import Program
from mnistref.common.console import run_program


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
def both() -> None:
    """mnistref generates the benchmarks, bench measures attention on them."""


both.add_command(mnistref)
both.add_command(bench)

if __name__ == "__main__":
    run_program(both)
