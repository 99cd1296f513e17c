"""The order of the grid's runs, and the number of epochs that fit into a time. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RUNS = Path("runs", "attribute")
"""Folder of the runs, below that of the grid."""
MAIN = "san", "pan", "pan-ctx", "arnn"
OTHERS = (
    *("brnn2+arnn", "unet3-arnn", "unet3", "han", "stn-s", "stn-m", "cbam", "cbam-arnn"),
    *("ltpa-pc", "ltpa-dp", "none", "se", "film", "self"),
)
BLOCKS = "none+arnn", "brnn3+arnn"
LARGE = *BLOCKS, "brnn2+arnn", "arnn"
"""The mechanisms of ARNN's Table 3, for 224 px, and `arnn`."""
LATE = "arnn-sampled", "arnn-ind", "arnn-ind-sampled", "unet2", "unet2-arnn", "brnn2", *BLOCKS


class Stage(NamedTuple):
    """Runs of several mechanisms on several variants, all from random weights.

    Attributes:
        variants: the variants of their data sets.
        attns: the mechanisms.
        seeds: number of seeds that are trained before the next stage begins. The other seeds follow after all stages.
    """

    variants: tuple[str, ...]
    attns: tuple[str, ...]
    seeds: int = 1

    @property
    def name(self) -> str:
        """The variants and the first mechanism, which no two stages share."""
        return f"{'+'.join(self.variants)}/{self.attns[0]}"


STAGES = (
    Stage(("mref", "mbg"), MAIN, 3),
    Stage(("mdist",), MAIN),
    Stage(("mbg",), OTHERS),
    Stage(("mbginv",), MAIN),
    Stage(("mbgb",), LARGE),
    Stage(("mref", "mdist"), OTHERS),
    Stage(("mref", "mbg", "mdist"), LATE),
    Stage(("mbginv",), ("none",)),
)
"""The most valuable runs come first: those that the papers' main claims are about, with three seeds."""


def steps(seeds: int, main: Sequence[str] = MAIN, stages: int | None = None) -> Iterator[tuple[int, Stage]]:
    """Yield each seed and stage in the order of training.

    Args:
        seeds: number of seeds.
        main: mechanisms that replace `MAIN`.
        stages: number of first stages, without the later ones; None for all stages.
    """
    chosen = [stage._replace(attns=tuple(main)) if stage.attns == MAIN else stage for stage in STAGES[:stages]]
    for stage in chosen:
        for seed in range(min(seeds, stage.seeds)):
            yield seed, stage
    for seed in range(seeds):
        for stage in chosen:
            if seed >= stage.seeds:
                yield seed, stage


Times = dict[str, dict[str, float]]
"""`train_step_ms` and `infer_ms_per_image` of each mechanism."""
EXPECTED = {"san": 0.55, "pan": 0.95, "pan-ctx": 0.95, "arnn": 2.0}
"""Estimated milliseconds of a step of 50 images as a CUDA graph on an H100. If one is measured, only ratios matter."""
SLOW, OF_STEP = 5.0, 0.01
"""Without measurements: the factor to the expected time of a step, and inference per image as a share of a step."""
AT_LEAST = "mref", "mbg", "mdist"
"""Variants on which the main mechanisms must be trained within the time."""
FIXED = 12.0
"""Seconds of a run in addition to its steps: start, compilation, data, test."""
FITTED = 0.85
"""Share of the time that these runs may use."""


def epochs_in(
    seconds: float, times: Mapping[str, Mapping[str, float]], train: int, val: int, batch: int, workers: int, most: int
) -> int:
    """Return the number of epochs of the main mechanisms on `AT_LEAST` that fit into the seconds, 1 … `most`.

    The estimate assumes that the steps of runs that share a GPU take turns.

    Args:
        seconds: The time.
        times: `train_step_ms` and `infer_ms_per_image` of each mechanism.
        train: Training images.
        val: Validation images.
        batch: Images per step.
        workers: Runs at the same time.
        most: Upper limit.
    """
    epoch = sum(
        (train // batch) * time["train_step_ms"] / 1e3 + val * time["infer_ms_per_image"] / 1e3
        for time in times.values()
    )
    fixed = FIXED * len(times) * len(AT_LEAST) / workers
    return max(1, min(most, int((FITTED * seconds - fixed) / (epoch * len(AT_LEAST)))))


def completed(times: Times, names: Sequence[str]) -> Times:
    """Return the times of these mechanisms; those not measured are estimated from the others.

    The estimate is conservative: it uses the largest ratio of measured to expected time.
    """
    slow = max((time["train_step_ms"] / expected(name) for name, time in times.items()), default=SLOW)
    share = max((time["infer_ms_per_image"] / time["train_step_ms"] for time in times.values()), default=OF_STEP)
    estimated = {name: slow * expected(name) for name in names if name not in times}
    return times | {n: {"train_step_ms": ms, "infer_ms_per_image": share * ms} for n, ms in estimated.items()}


def expected(name: str) -> float:
    """Return the expected milliseconds of a step; an unknown mechanism counts as the slowest one."""
    return EXPECTED.get(name, max(EXPECTED.values()))


def longest_first(names: Sequence[str], times: Times) -> list[str]:
    """Return the mechanisms with the slowest step first, so that several workers finish early."""
    measured = {name: time["train_step_ms"] for name, time in times.items()}
    return sorted(names, key=lambda name: -measured.get(name, expected(name)))


def rows_of(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in the output of a probe. The last line may be incomplete."""
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "network" in row:
            rows.append(row)
    return rows


def times_of(session: Path, attns: Sequence[str], batch: int, questions: int) -> dict[str, dict[str, float]]:
    """Return the times of these mechanisms from a session of `tests/perf/gpu_session.sh`; {} if one is missing.

    Times of a trainer are preferred to those of the network alone.
    """
    try:
        rows = json.loads(session.read_text(encoding="utf-8"))["measurements"]
        found = {
            row["network"]: {
                "train_step_ms": float(row.get("trainer_step_ms", row["train_step_ms"])),
                "infer_ms_per_image": float(row.get("val_ms_per_image", row["infer_ms_per_image"])),
            }
            for row in rows
            if (row.get("batch"), row.get("questions"), row.get("precision")) == (batch, questions, "bf16")
            and row.get("variant") == "mref"
            and "train_step_ms" in row
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {attn: found[attn] for attn in attns} if all(attn in found for attn in attns) else {}
