"""The content of result.json of a run that ended. Pure."""

from collections.abc import Mapping

from bench.compute import ComputeConfig
from bench.config import RunConfig
from bench.data.sets import DataSet
from bench.evaluation.columns import (
    ATTN,
    BACKGROUNDS,
    BENCH_VERSION,
    CAPTURE,
    DATASET,
    DEVICE,
    DIGITS,
    NOTE,
    PRECISION,
    QUERIES,
    RECIPE,
    STATUS,
    VARIANT,
)
from bench.evaluation.record_keys import FORMAT
from bench.runs.validation import RESULT_FORMAT
from mnistref.common.version import VERSION


def build_result(
    config: RunConfig, manifest: DataSet, computing: ComputeConfig, seconds: float, outcome: Mapping[str, object]
) -> dict[str, object]:
    """Return the content of result.json, see `bench.runs.record_types.Result`.

    Args:
        config: configuration of the run.
        manifest: manifest of the data set.
        computing: device and precision.
        seconds: duration of the run.
        outcome: the `status`, and the measures or the `reason` of the failure.
    """
    note = manifest.variant.note
    return {
        STATUS: outcome[STATUS],
        ATTN: config.attn,
        VARIANT: config.variant,
        **({NOTE: note} if note else {}),
        "seed": config.seed,
        RECIPE: config.training,
        QUERIES: config.queries,
        DATASET: {
            "spec_id": manifest.spec_id,
            DIGITS: manifest.digits.name if manifest.digits else None,
            BACKGROUNDS: manifest.backgrounds.name if manifest.backgrounds else None,
        },
        **{key: value for key, value in outcome.items() if key != STATUS},
        DEVICE: computing.device_name,
        PRECISION: config.precision,
        CAPTURE: config.capture,
        "seconds": seconds,
        BENCH_VERSION: VERSION,
        FORMAT: RESULT_FORMAT,
    }
