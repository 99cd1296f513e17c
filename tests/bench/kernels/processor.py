"""What tests need of the processor. Compiled code for another one would end the process."""

import pytest

pytest.importorskip("numba")
from bench.kernels.numba_tiles import tiles_available

needs_amx = pytest.mark.skipif(not tiles_available(), reason="needs a processor with AMX")
