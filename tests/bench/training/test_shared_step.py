"""Training steps on several processes."""

import pytest

from bench.distributed.process_group import ProcessGroup
from mnistref.common.errors import UsageProblemError
from tests.bench.distributed import training_program


def test_a_batch_smaller_than_the_number_of_processes_is_refused(mini):
    with pytest.raises(UsageProblemError, match="a batch of 25 images is too small for 26 processes"):
        training_program.trainer(mini, "none", False, ProcessGroup(0, 26, None))
