"""The batch that fits into memory after a larger one did not."""

from dataclasses import replace

import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.networks import resolve
from bench.profiling import oom
from mnistref.variants import get_variant


@pytest.mark.parametrize(
    ("most", "advice"),
    [
        pytest.param(60, "give --batch 50", marks=pytest.mark.long_form),
        (1, "no smaller batch fits either"),
        pytest.param(400, "but not together with the data; give --stream", marks=pytest.mark.long_form),
    ],
)
def test_first_batch_that_fits_is_suggested(most, advice, monkeypatch):
    """Batches of more than this many images run out of memory."""

    def measure(models, workload, computing, rounds):
        if workload.recipe.batch > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(oom, "time_networks", measure)
    recipe, computing = replace(RECIPES["fast"], batch=200), ComputeConfig(torch.device("cpu"))
    assert advice in oom.describe_out_of_memory(resolve("pan"), recipe, get_variant("mini"), computing)
