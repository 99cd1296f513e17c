"""Fixtures of the tests of bench."""

from tests.bench.conftest import checked_here, interrupt_after, one_draw
from tests.bench.kernels.diagonal_lstm.conftest import fresh_self_tests
from tests.integration.browser import chromium

__all__ = ["checked_here", "chromium", "fresh_self_tests", "interrupt_after", "one_draw"]
