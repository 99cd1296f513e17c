"""A short run for the commands that ask a finished run questions."""

import pytest

from bench.runs import experiment
from tests.bench.runs.helpers import configured


@pytest.fixture(scope="package")
def trained(mini, tmp_path_factory):
    """A short run of pan, in a folder of its own, because commands write into it."""
    return experiment.run(configured(mini), mini, tmp_path_factory.mktemp("attacked"))
