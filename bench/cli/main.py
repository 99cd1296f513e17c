"""The program `bench`: each command is in the file of its name."""

from bench.cli.attack import attack
from bench.cli.check import check
from bench.cli.evaluate import evaluate
from bench.cli.leaderboard import print_leaderboard
from bench.cli.list import list_mechanisms
from bench.cli.report import print_report
from bench.cli.run import run
from bench.cli.runtime import print_runtime
from bench.cli.saliency import saliency
from bench.cli.show import show
from bench.cli.swap import swap
from bench.cli.sweep import run_sweep
from bench.cli.test import test
from bench.cli.transfer import transfer
from mnistref.common.click_program import program

bench = program("bench", "Train attention mechanisms on the data sets of mnistref, and measure them.")
for _command in (
    *(run, run_sweep, evaluate, saliency, attack, swap, test, transfer, print_leaderboard, print_report),
    *(list_mechanisms, check, print_runtime, show),
):
    bench.add_command(_command)
