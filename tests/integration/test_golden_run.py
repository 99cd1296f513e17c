"""The names and the weights of runs as constants: a change of them would separate new runs from stored ones.

`python -m tests.integration.test_golden_run` prints the present values of `INITIAL_WEIGHTS`.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.config import RECIPES, RunConfig
from bench.model import build
from bench.runs import experiment, records
from bench.training.progress import ProgressOptions
from mnistref.variants import get_variant
from tests.bench.runs.helpers import SHORT, configured

CPU = torch.device("cpu")
CONFIG = RunConfig("arnn", "mbg", "mbg-0123456789ab", 3, RECIPES["fast"], "one", "fp32", "cuda")
RUN_IDS = {
    "mbg-arnn-s3-6733d73131ed": CONFIG,
    "mbg-none+arnn-hidden=16-s3-c54517a382b7": replace(CONFIG, attn="none,arnn:hidden=16"),
    "mbg-arnn-s3-6a9d4e5bfe4f": replace(CONFIG, recipe=RECIPES["pan"], queries="all", capture="graph"),
    "mbg-arnn-s3-ae87bbb6ca22": replace(
        CONFIG, init="mref-0123456789ab,fast", init_weights="0" * 12, online=True, width=16
    ),
}
"""Name of the folder → configuration. The names do not depend on the machine."""
INITIAL_WEIGHTS = {
    "none": "d225671bbc76914e6e392365747b5b063b39c9f9c8cdd2c27fbe736eed09c9d1",
    "pan": "28b9a950143c2fa7c046647f4278d29bf6005633ee212b717ac111c79c31d298",
    "arnn": "dd50f73e360f884653f773cd0aa1964b953df12c543a6adbfc3ccb014dedec38",
    "ltpa-dp": "bc5e9764abb346db5dc3ec757bd1523cc407b2dbb9e4a8619cd0f131ab859842",
}
"""Network for `mini` → digest of the weights that seed 0 draws."""
RUN_ID = "mini-pan-s0-cbaaeb24c3bc"
TRAINED_SIZES = {"head.norm.running_mean": 0.22331461, "head.norm.bias": 0.00402187, "stages.3.bias": 0.02349540}
"""Mean absolute value of some weights after the training. Their last bits depend on the processor."""


def weights_digest(attn: str) -> str:
    """Return the SHA-256 of the initial weights of a network, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(build(attn, get_variant("mini"), 0, CPU).state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", RUN_IDS)
def test_names_of_runs_are_golden(name):
    assert RUN_IDS[name].run_id == name


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="rounds uniform numbers differently")
@pytest.mark.parametrize("attn", INITIAL_WEIGHTS)
def test_initial_weights_are_golden(attn):
    assert weights_digest(attn) == INITIAL_WEIGHTS[attn]


@pytest.fixture(scope="module")
def finished(mini, tmp_path_factory) -> Path:
    """Return a run of pan on `mini`, trained for one epoch of 8 steps."""
    config = configured(mini, "pan", replace(SHORT, epochs=1))
    options = experiment.ExecutionOptions(progress=ProgressOptions(timing=False))
    return experiment.run(config, mini, tmp_path_factory.mktemp("golden"), options=options)


def test_name_and_trained_weights_of_a_run_are_golden(finished):
    assert finished.name == RUN_ID
    weights = load_file(finished / records.WEIGHTS)
    assert {name: float(weights[name].abs().mean()) for name in TRAINED_SIZES} == pytest.approx(TRAINED_SIZES, rel=1e-2)


if __name__ == "__main__":
    print({attn: weights_digest(attn) for attn in INITIAL_WEIGHTS})
