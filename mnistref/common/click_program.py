"""Base of both programs: one-line errors, and exit codes (see `mnistref.common.errors`)."""

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from mnistref.common import console
from mnistref.common.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_IO,
    NO_SUCH_FOLDER,
    ProblemError,
    SummaryProblemError,
    UsageProblemError,
    did_you_mean,
    format_traceback,
    near_names,
    nearest_name,
)
from mnistref.common.interrupts import Interrupted, interruptible
from mnistref.common.version import VERSION

if TYPE_CHECKING:
    _ChoiceType = click.Choice[str]
    _RangeType = click.ParamType[tuple[int, int] | tuple[float, float]]
else:  # before click 8.4, these classes are not generic
    _ChoiceType, _RangeType = click.Choice, click.ParamType

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _AbsolutePath(click.Path):
    """A path that is made absolute when it is parsed, because user code may change the working directory."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the absolute path."""
        return console.remember_spelling(Path(os.fsdecode(super().convert(value, param, ctx))))


class _ExistingFolder(_AbsolutePath):
    """A folder that must exist, as an absolute path. The default of an option may be missing."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the absolute path.

        Raises:
            UsageProblemError: there is no such folder, it is a file, or it cannot be read.
        """
        if ctx and param and param.name and ctx.get_parameter_source(param.name) is ParameterSource.DEFAULT:
            return super().convert(value, param, ctx)  # the command knows how to make what is usually there
        option = f"{param.opts[0]} " if isinstance(param, click.Option) else ""
        given = f"{option}{click.format_filename(value)}"
        if not os.path.lexists(value):
            raise UsageProblemError(f"{given}: {NO_SUCH_FOLDER}")
        if not os.path.isdir(value):
            raise UsageProblemError(f"{given}: this is not a folder; give the path of a folder")
        if not os.access(value, os.R_OK | os.X_OK):
            raise UsageProblemError(f"{given}: this folder cannot be read; check its permissions")
        return super().convert(value, param, ctx)


MAX_SHORT = 3
"""Length of values up to which similar names are not suggested, because "gpu" would suggest "cpu"."""


class Choice(_ChoiceType):
    """One of several names. The error message about an unknown name suggests similar names."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        try:
            return str(super().convert(value, param, ctx))
        except click.BadParameter as error:  # its message has all names
            text = str(value)
            near = near_names(text, list(self.choices))
            if len(text) <= MAX_SHORT:
                near = [name for name in near if name.lower() == text.lower()]
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            self.fail(f"{error.message}{hint}", param, ctx)


class RangeType(_RangeType):
    """Two numbers LOW,HIGH, or one number for both.

    Args:
        number: the type of the numbers.
    """

    name = "LOW,HIGH"

    def __init__(self, number: type[int] | type[float]) -> None:
        self.number = number

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int] | tuple[float, float]:
        """Return the two numbers."""
        try:
            numbers = [self.number(part) for part in str(value).split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2):
            what = "whole numbers" if self.number is int else "numbers"
            self.fail(f"{value!r}: give two {what} LOW,HIGH", param, ctx)
        return numbers[0], numbers[-1]


Command = Callable[..., object]
FOLDER = _AbsolutePath(path_type=Path)
EXISTING = _ExistingFolder(file_okay=False, path_type=Path)


class HeadedOption(click.Option):
    """An option that the help shows under a heading.

    Args:
        heading: the heading; options with the same heading stand together.
    """

    def __init__(self, *names: Any, heading: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.heading = heading

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help, without the range of its values, which errors explain."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        text = re.sub(r"; [\w.]*<?=?x[<>]?=?[\w.]*(?=\]$)|  \[[\w.]*<?=?x[<>]?=?[\w.]*\]$", "", record[1])
        return record[0], text


def headed_option(heading: str, *names: str, **settings: Any) -> Callable[[Command], Command]:
    """Return the decorator of an option that the help shows under a heading, as `click.option` does without one."""
    return click.option(*names, cls=HeadedOption, heading=heading, **settings)


class HeadedCommand(click.Command):
    """A command whose help groups the options by heading. Options without one follow as "Other options"."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each heading, in the order of their definition."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):  # the usage line has the arguments
                sections.setdefault(getattr(parameter, "heading", "Other options"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Program(click.Group):
    """A click group with one-line errors and documented exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: object,
    ) -> NoReturn:
        """Run the command line and exit with its code."""
        given, debug = _take_debug(sys.argv[1:] if args is None else args)
        console.prepare()
        console.start_command()
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
        for package in ("bench", "mnistref"):
            logging.getLogger(package).setLevel(logging.DEBUG if debug else logging.NOTSET)
        if not _has_working_directory():
            sys.exit(_fail("the working directory is gone or cannot be read; change to a folder that exists", EXIT_IO))
        received: list[int] = []
        try:
            with interruptible(received):
                code = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
        except BaseException as error:
            code = _outcome(Interrupted() if received else error, debug)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. A closed pipe is a success."""
        try:
            return super().invoke(ctx)
        except EOFError as error:  # click would report an interrupt
            raise RuntimeError(f"EOFError: {error}") from error
        except BrokenPipeError:  # the reader has closed the pipe; click would exit with 1
            return 0

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command that runs with stdout reserved for its results (see `mnistref.common.console`)."""
        if cmd.callback and not isinstance(cmd, click.Group):
            cmd.callback = _isolated(cmd.callback)
        super().add_command(cmd, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the arguments; raise a usage error with the nearest name if it is unknown."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}: {did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Return the arguments without --debug, which may be anywhere before `--`, and whether it was given."""
    given = list(arguments)
    end = given.index("--") if "--" in given else len(given)
    options = [argument for argument in given[:end] if argument != "--debug"]
    return options + given[end:], len(options) < end


def _has_working_directory() -> bool:
    """Return whether the working directory exists and can be read. Without it, oneMKL aborts the process."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _isolated(callback: Callable[_P, _R]) -> Callable[_P, _R]:
    @wraps(callback)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with console.isolated():
            return callback(*args, **kwargs)

    return call


def _outcome(error: BaseException, debug: bool) -> int:
    """Print the one-line message of the error that ended a command, and return its exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    if isinstance(error, click.ClickException):
        return _fail(_describe_usage_error(error), error.exit_code)
    if isinstance(error, Interrupted | KeyboardInterrupt | click.Abort):
        return _fail("interrupted; run the same command again, which resumes where it can", EXIT_INTERRUPTED)
    if debug and isinstance(error, ProblemError | OSError) and not isinstance(error, SummaryProblemError):
        click.echo(format_traceback(error), err=True)
    if isinstance(error, ProblemError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; check the path, its permissions and the free space", EXIT_IO)
    if isinstance(error, SystemExit):  # raised by user code; the commands raise none
        if debug:
            raise RuntimeError("user code raised SystemExit") from error
        return _fail(f"user code raised SystemExit: {error}; run with --debug for the traceback", EXIT_BUG)
    if debug or not isinstance(error, Exception):
        raise error
    return _fail(f"a bug: {type(error).__name__}: {error}; run with --debug for the traceback", EXIT_BUG)


def _describe_usage_error(error: click.ClickException) -> str:
    """Return the message of click, with the nearest name if an option is unknown."""
    if isinstance(error, click.NoSuchOption):
        options = error.ctx.command.get_params(error.ctx) if error.ctx else []
        known = [name.removeprefix("--") for option in options for name in option.opts if name.startswith("--")]
        near = nearest_name(error.option_name.lstrip("-"), known)
        return f"no option {error.option_name}; {f'did you mean --{near}?' if near else 'see --help'}"
    return error.format_message()


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def program(name: str, text: str) -> Program:
    """Return the group of a program, with the options --version and --debug."""
    group = Program(name, help=text, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
    click.version_option(VERSION, prog_name=name)(group)
    click.option(
        "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error. May follow the command."
    )(group)
    group.callback = lambda: None
    return group
