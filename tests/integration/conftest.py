"""Fixtures of the tests of bench."""

from tests.bench.conftest import checked_here, interrupt_after, one_draw

__all__ = ["checked_here", "interrupt_after", "one_draw"]
