"""Calls of the command `bench` in this process."""

from click.testing import CliRunner

import cli

TRAINING = ["--epochs", "1", "--batch", "50", "--threads", "1", "--device", "cpu"]
"""Options of a training of one epoch, on one thread."""


def bench(*arguments) -> tuple[int, str, str]:
    """Return the exit code, stdout, and the last line of stderr."""
    done = CliRunner().invoke(cli.bench, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout.strip(), done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
