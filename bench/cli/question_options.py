"""Options of the commands that ask a finished run questions about the test images."""

from collections.abc import Callable, Sequence

import click

from bench.config import DEVICES
from mnistref.common.click_program import EXISTING, FOLDER, Choice, Command


def add_question_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds the argument RUN, these options, and those that both commands share."""
    shared: Sequence[Callable[[Command], Command]] = (
        click.option(
            "--images", type=click.IntRange(min=1), default=400, show_default=True, help="Number of test images."
        ),
        click.option(
            "--batch", type=click.IntRange(min=1), default=50, show_default=True, help="Images per forward pass."
        ),
        click.option("--data", type=EXISTING, help="Folder of the data set.  [default: the run's]"),
        click.option(
            "--root",
            type=FOLDER,
            default="data_cache",
            show_default=True,
            help="Folder with the data sets of the runs.",
        ),
        click.option("--device", type=Choice(DEVICES), default="auto", show_default=True, help="Device."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )

    def decorate(command: Command) -> Command:
        decorated = command
        for option in reversed((*options, *shared)):
            decorated = option(decorated)
        return click.argument("run", type=EXISTING)(decorated)

    return decorate
