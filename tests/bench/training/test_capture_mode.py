"""Whether training steps are captured as a CUDA graph."""

from dataclasses import replace

import pytest
import torch

from bench.attention import resolve_network
from bench.compute import ComputeConfig
from bench.runs import experiment
from bench.training.capture_mode import resolve_capture
from mnistref.variants import VARIANTS
from tests.bench.runs.helpers import SHORT, configured
from tests.helpers import TOP

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
EXAMPLE = TOP / "bench" / "examples" / "own_attention.py"


@pytest.mark.parametrize(
    ("asked", "device", "attn", "questions", "processes", "expected", "why"),
    [
        ("auto", "cpu", "arnn", 2, False, "eager", ""),
        ("auto", "cuda", "arnn", 2, False, "graph", ""),
        ("auto", "cuda", "san", "one", False, "graph", ""),
        ("auto", "cuda", "san", "all", False, "eager", "use --questions 2 or one"),
        ("auto", "cuda", "san", 2, True, "eager", "several processes"),
        ("auto", "cuda", f"none,{EXAMPLE}:Compare", 2, False, "eager", "--capture graph to try"),
        ("graph", "cuda", f"none,{EXAMPLE}:Compare", 2, False, "graph", ""),
        ("eager", "cuda", "arnn", 2, False, "eager", ""),
    ],
)
def test_capture_mode_follows_device_network_and_questions(asked, device, attn, questions, processes, expected, why):
    variant = VARIANTS["mini"]
    assert variant.digits[0] == 2
    recipe = replace(SHORT, questions=questions)
    capture, said = resolve_capture(asked, device, resolve_network(attn, 32), variant, recipe, processes)
    assert capture == expected
    assert why in said
    assert bool(said) == bool(why)


def test_run_id_on_a_cpu_does_not_depend_on_capture(mini):
    for capture in ("auto", "eager"):
        config = experiment.configure(
            mini, "san", 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU, capture=capture))
        )
        assert config.as_dict()["capture"] == "eager"
        assert config == configured(mini, "san")


def test_configuration_on_a_gpu_has_the_resolved_capture_mode(mini):
    how = ComputeConfig(CUDA, capture="auto")
    recipes = [replace(SHORT, questions=questions) for questions in (2, "all")]
    found = [
        experiment.configure(mini, "san", 0, experiment.RunSettings(recipe, "one", how)).capture for recipe in recipes
    ]
    assert found == ["graph", "eager"]
