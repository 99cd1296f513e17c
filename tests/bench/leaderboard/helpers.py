"""Results of runs, as records hold them, and the rows of their board."""

import numpy as np

from bench.evaluation.columns import SCALES
from bench.leaderboard.aggregate import build_board
from bench.networks import NETWORKS, resolve


def result(attn="arnn", accuracy=0.8, seed=0, variant="mbg", spec_id="0123456789ab", **changes) -> dict:
    """Return the result of a finished run, as `result.json` has it."""
    return {
        "status": "ok",
        "attn": attn,
        "variant": variant,
        "seed": seed,
        "recipe": "fast",
        "queries": "one",
        "dataset": {"spec_id": spec_id, "digits": "mnist", "backgrounds": "builtin"},
        "accuracy": accuracy,
        "n_test": 1000,
        "accuracy_scale_0.5_1.0": accuracy - 0.1,
        "mask_correctness": 0.3,
        "tpr": 0.2,
        "params": 1234,
        "threads": 2,
        "train_step_ms": {"san": 100.0, "pan": 110.0}.get(attn, 470.0),
        "infer_ms_per_image": 1.0,
        "peak_memory_mb": 900.0,
        "device": "cpu",
        "precision": "fp32",
        "bench_version": "0.1.0",
        **changes,
    }


def failed(attn="arnn", status="failed", **changes) -> dict:
    """Return the result of a run that did not finish."""
    keep = ("attn", "variant", "seed", "recipe", "queries", "dataset", "device", "precision", "bench_version")
    return {**{k: v for k, v in result(attn, **changes).items() if k in keep}, "status": status, "reason": "?"}


def rows(*made, **options) -> list[dict]:
    """Return the rows of the leaderboard of these results."""
    return build_board(made, **options).to_dict("records")


def with_answers(attn: str, seeds: int, share: float, key: int) -> list[dict]:
    """Return results of several seeds, with answers to 1,000 questions of two scale bins; some are always hard."""
    rng, hard = np.random.default_rng(key), np.random.default_rng(0).random(1000)
    made = []
    for seed in range(seeds):
        right = ((hard + rng.normal(0, 0.05, 1000)) < share).astype(np.uint8)
        kept = {"right": right, "scale_bin": np.arange(1000) % 2, "mask_correctness": right.astype(np.float16) / 4}
        made.append(result(attn, float(right.mean()), seed, answers=kept))
    return made


def of_bins(attn: str, seed: int, right: list[int], bins: list[int], **changes) -> dict:
    """Return a result with these answers to questions of these scale bins."""
    rights = np.array(right, np.uint8)
    of_scale = {name: float(rights[np.array(bins) == k].mean()) for k, name in enumerate(SCALES) if k in bins}
    kept = {"right": rights, "scale_bin": np.array(bins, np.int8)}
    return result(attn, float(rights.mean()), seed, n_test=len(right), answers=kept, **of_scale, **changes)


def network_run(network: str, attn: str, share: float, seed: int = 0, **more) -> dict:
    """Return the result of a network on a task of 32 px and ten classes. `share` is the share of right answers."""
    task, width = more.pop("task", "cifar10"), more.pop("width", NETWORKS[network].width)
    rng, hard = np.random.default_rng([seed, len(attn), len(network)]), np.random.default_rng(0).random(500)
    margin = share - hard + rng.normal(0, 0.05, 500)
    return {
        "status": "ok",
        "attn": resolve(attn, network=network).name,
        "variant": task,
        "seed": seed,
        "recipe": f"ltpa-vgg,network={network},width={width}",
        "queries": "one",
        "dataset": {"spec_id": "0123456789ab"},
        "device": "cpu",
        "precision": "fp32",
        "bench_version": "0.2.0",
        "answers": {"right": (margin > 0).astype(np.uint8), "right5": (margin > -0.2).astype(np.uint8)},
        "request": {"variant": task, "task": task, "canvas": 32, "labels": [*"abcdefghij"]},
        **more,
    }
