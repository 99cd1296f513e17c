"""Names of the implementations that run."""

import pytest

from bench.kernels.diagonal_lstm import (
    FALLBACK,
    diagonal_lstm,
)
from bench.kernels.diagonal_lstm.implementation_log import join_names, record_implementations
from tests.bench.kernels.diagonal_lstm.cases import arguments, no_images

pytestmark = pytest.mark.usefixtures("fresh_self_tests")


def test_used_implementation_is_logged():
    inner: set[str] = set()
    outer: set[str] = set()
    with record_implementations(outer):
        diagonal_lstm(*arguments(2, 2), "reference")
        with record_implementations(inner):
            diagonal_lstm(*arguments(2, 2), FALLBACK)
            diagonal_lstm(*no_images(arguments(2, 2)), "cpu")  # nothing to compute
    diagonal_lstm(*arguments(2, 2), "cpu")
    assert (inner, outer) == ({FALLBACK}, {FALLBACK, "reference"})
    assert (join_names(outer), join_names(set())) == ("packed, reference", None)


def test_self_test_is_not_logged():
    pytest.importorskip("numba")
    ran: set[str] = set()
    with record_implementations(ran):
        diagonal_lstm(*arguments(2, 2))
    assert ran == {"cpu"}
