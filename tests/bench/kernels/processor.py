"""What tests need of the processor. Compiled code for another one would end the process."""

import pytest

pytest.importorskip("numba")
from bench.kernels.numba_tiles import tiles_available

HAS_AMX = tiles_available()
REASON = "needs a processor with AMX"
needs_amx = pytest.mark.skipif(not HAS_AMX, reason=REASON)
