"""The content of result.json: what the configuration and the data set determine, and the outcome."""

from bench.compute import ComputeConfig
from bench.data.sets import read_manifest
from bench.runs.result import build_result
from bench.runs.validation import RESULT_FORMAT, check_result
from mnistref.common.version import VERSION
from tests.bench.runs.helpers import CPU, configured


def test_a_result_has_the_header_the_outcome_and_the_versions(mini):
    manifest, config = read_manifest(mini), configured(mini, "pan", seed=3)
    outcome = {"status": "ok", "accuracy": 0.5, "n_test": 9, "params": 4}
    result = build_result(config, manifest, ComputeConfig(CPU), 1.5, outcome)
    dataset = {"spec_id": manifest.spec_id, "digits": "mnist5k", "backgrounds": None}
    assert check_result(result) == []
    assert list(result.items()) == [
        ("status", "ok"),
        ("attn", "pan"),
        ("variant", "mini"),
        ("note", manifest.variant.note),
        ("seed", 3),
        ("recipe", config.training),
        ("queries", "one"),
        ("dataset", dataset),
        ("accuracy", 0.5),
        ("n_test", 9),
        ("params", 4),
        ("device", "cpu"),
        ("precision", "fp32"),
        ("capture", "eager"),
        ("seconds", 1.5),
        ("bench_version", VERSION),
        ("result_format", RESULT_FORMAT),
    ]
