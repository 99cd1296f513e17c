"""Kinds of values that options of `bench` take."""

from typing import Any

import click

from mnistref.spec import MAX_DIGITS


class Number(click.FloatRange):
    """A number in a range, and no NaN, which lies in every one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is no number", param, ctx)
        return float(number)


class Questions(click.ParamType):
    """one, all, or a number of questions."""

    name = "K|all|one"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value in ("one", "all"):
            return str(value)
        if not str(value).isdecimal() or not 1 <= int(value) <= MAX_DIGITS:
            self.fail(f"{value!r}: give all, one, or a number from 1 to {MAX_DIGITS}", param, ctx)
        return int(value)


class Shard(click.ParamType):
    """I/N: the part I of N."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        part, _, parts = str(value).partition("/")
        if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            self.fail(f"{value!r}: give I/N with 1 ≤ I ≤ N, such as 2/8", param, ctx)
        return int(part), int(parts)
