"""The command `bench`, called as a user would, in this process."""

from click.testing import CliRunner

import cli

TRAINING = ["--epochs", "1", "--batch", "50", "--threads", "1", "--device", "cpu"]
"""One epoch, on one thread."""


def bench(*arguments) -> tuple[int, str, str]:
    """Exit code, what it prints, and the last line of what it says beside that."""
    done = CliRunner().invoke(cli.bench, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout.strip(), done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
