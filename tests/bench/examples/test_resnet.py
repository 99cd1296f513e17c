"""The example of an attention RNN in a network of torchvision."""

import subprocess
import sys

from tests.helpers import TOP


def test_attention_rnn_works_in_a_torchvision_network():
    done = subprocess.run(
        [sys.executable, "-m", "bench.examples.resnet"],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    losses = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("step")]
    assert losses[-1] < losses[0]
    assert "after stage 1: a map of (24, 24)" in done.stdout
