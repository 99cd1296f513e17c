"""Types of the values of command-line options."""

from typing import TYPE_CHECKING, Any

import click

from mnistref.common.click_program import EXISTING
from mnistref.spec import MAX_DIGITS

if TYPE_CHECKING:
    _QuestionCountType = click.ParamType[int | str]
    _ShardType = click.ParamType[tuple[int, int]]
    _TextType = click.ParamType[str]
else:  # before click 8.4, these classes are not generic
    _QuestionCountType = _ShardType = _TextType = click.ParamType


class Number(click.FloatRange):
    """A number in a range, but not NaN, which `click.FloatRange` accepts in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number", param, ctx)
        return float(number)


class QuestionCount(_QuestionCountType):
    """The number of questions about each image in a step: "one", "all" or an integer."""

    name = "K|all|one"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return "one", "all" or the integer."""
        text = str(value)
        if text in ("one", "all"):
            return text
        if not text.isdecimal() or not 1 <= int(text) <= MAX_DIGITS:
            self.fail(f"{value!r}: give all, one, or a number from 1 to {MAX_DIGITS}", param, ctx)
        return int(text)


class TaskName(_TextType):
    """The name of a task. The help lists the tasks, which are imported only then."""

    name = "task"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the names of all tasks. Before click 8.2, there is no context."""
        from bench.tasks import TASKS

        return "|".join([*TASKS, "folder:DIR"])


class DataSetName(_TextType):
    """A data set: the name of a variant or a task, or a folder, which must exist if it is written with a slash."""

    name = "data"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name or the path."""
        text = str(value)
        is_path = "/" in text and not text.startswith("folder:")
        return str(EXISTING.convert(text, param, ctx)) if is_path else text


class Shard(_ShardType):
    """Part I of N, written I/N."""

    name = "I/N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return I and N, with 1 ≤ I ≤ N."""
        part, _, parts = str(value).partition("/")
        if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            self.fail(f"{value!r}: give I/N with 1 ≤ I ≤ N, such as 2/8", param, ctx)
        return int(part), int(parts)
