"""The order of the grid's runs, and how many epochs of them fit into a time. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MAIN = "san", "pan", "pan-ctx", "arnn"
OVER = "brnn2+arnn", "unet3-arnn"
REST = "han", "stn-m", "cbam", "cbam-arnn", "ltpa-pc", "none"
LATE = "stn-s", "arnn-sampled", "arnn-ind", "arnn-ind-sampled", "unet2", "unet3", "unet2-arnn", "brnn2"
BLOCKS = "none+arnn", "brnn3+arnn"


class Stage(NamedTuple):
    """Runs of several mechanisms on one variant.

    `runs`: their folder, below that of all runs. `after`: the folder of the runs with whose weights they begin. `fade`:
    see `bench sweep --help`.
    """

    runs: str
    variant: str
    attns: tuple[str, ...]
    after: str = ""
    fade: float = 0.0


def on(variant: str, attns: Sequence[str]) -> Stage:
    """Return the stage of these mechanisms on a variant: what they begin with is the same for all.

    On photographs and among distractors a network begins with what it learned on black; at 224 px with what it learned
    on photographs; on the inverse task with what it learned of that on small black images.
    """
    after = {"mbg": "mref", "mdist": "mref", "mbginv": "miniinv", "mbgb": "mbg"}.get(variant, "")
    return Stage(variant, variant, tuple(attns), after, 0.5 if after and variant != "mbgb" else 0.0)


FIRST = (
    *(on(variant, MAIN) for variant in ("mref", "mbg", "mdist", "miniinv", "mbginv")),
    *(on(variant, attns) for attns in (OVER, REST) for variant in ("mref", "mbg", "mdist")),
)
"""Of every seed, one seed after the other."""
THEN = (
    Stage("mref/more", "mref", MAIN, "mref"),  # as many images of black as of clutter, to tell what clutter costs
    *(on(variant, (*LATE, *BLOCKS)) for variant in ("mref", "mbg", "mdist")),
    *(on(variant, ("none",)) for variant in ("miniinv", "mbginv")),
    on("mbgb", (*BLOCKS, "brnn2+arnn", "arnn")),
)
"""Of every seed, when the first stages of all seeds are over."""


def steps(seeds: int, main: Sequence[str] = MAIN, stages: int | None = None) -> Iterator[tuple[int, Stage]]:
    """Yield seed and stage in their order. `main`: instead of `MAIN`; `stages`: only so many of each seed."""
    for part in (FIRST, THEN):
        for seed in range(seeds):
            for stage in part[:stages]:
                yield seed, stage._replace(attns=tuple(main)) if stage.attns == MAIN else stage
        if stages is not None:
            return


Times = dict[str, dict[str, float]]
"""Of each mechanism `train_step_ms` and `infer_ms_per_image`."""
EXPECTED = {"san": 0.55, "pan": 0.95, "pan-ctx": 0.95, "arnn": 2.0}
"""Estimated milliseconds of a recorded step of 50 images on an H100. Only their ratios count where one is measured."""
SLOW, OF_STEP = 5.0, 0.01
"""Where nothing is measured: so much longer than expected is a step, and this share of it is inference on an image."""
AT_LEAST = "mref", "mbg", "mdist"
"""Variants on which the main mechanisms are to be trained in the time that there is."""
FIXED = 12.0
"""Seconds of a run beside its steps: start, compiling, data, test."""
FITTED = 0.85
"""Share of the time that these runs may take by what was measured."""


def epochs_in(
    seconds: float, times: Mapping[str, Mapping[str, float]], train: int, val: int, batch: int, workers: int, most: int
) -> int:
    """Return how many epochs of the main mechanisms on `AT_LEAST` fit into the seconds: 1 … `most`.

    `times`: of each mechanism `train_step_ms` and `infer_ms_per_image`. Runs that share a GPU are taken to gain nothing
    in their steps.
    """
    epoch = sum(
        (train // batch) * time["train_step_ms"] / 1e3 + val * time["infer_ms_per_image"] / 1e3
        for time in times.values()
    )
    fixed = FIXED * len(times) * len(AT_LEAST) / workers
    return max(1, min(most, int((FITTED * seconds - fixed) / (epoch * len(AT_LEAST)))))


def completed(times: Times, names: Sequence[str]) -> Times:
    """Return the times of these mechanisms, of which those that were not measured are estimated from the others.

    The estimate is on the safe side: by the slowest of the others in comparison to what is expected.
    """
    slow = max((time["train_step_ms"] / expected(name) for name, time in times.items()), default=SLOW)
    share = max((time["infer_ms_per_image"] / time["train_step_ms"] for time in times.values()), default=OF_STEP)
    estimated = {name: slow * expected(name) for name in names if name not in times}
    return times | {n: {"train_step_ms": ms, "infer_ms_per_image": share * ms} for n, ms in estimated.items()}


def expected(name: str) -> float:
    """Return the expected milliseconds of a step; of an unknown mechanism those of the slowest one."""
    return EXPECTED.get(name, max(EXPECTED.values()))


def longest_first(names: Sequence[str], times: Times) -> list[str]:
    """Return the mechanisms in the order in which several workers end soonest: the slowest step first."""
    measured = {name: time["train_step_ms"] for name, time in times.items()}
    return sorted(names, key=lambda name: -measured.get(name, expected(name)))


def rows_of(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects among the lines of a probe, the last of which may have been cut."""
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
    """Return what a session of `bench/gpu_session.sh` measured of these mechanisms; {} where it lacks one of them.

    Times of whole training are taken before those of the network alone.
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
