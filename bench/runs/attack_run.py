"""Attacks on a finished run: load the network and the questions, attack them, and write the record."""

from pathlib import Path

from tqdm import tqdm

from bench.attribution.fooling import AttackPlan, measure_fooling
from bench.compute import ComputeConfig
from bench.runs.attack_record import RECORD, AttackRecord, attack_content
from bench.runs.saliency_run import load_explained
from mnistref.common.errors import DataProblemError


def attack_run(
    run: Path, data: Path, plan: AttackPlan, images: int, batch: int, computing: ComputeConfig
) -> AttackRecord:
    """Attack the network on the first test questions, and write the record into the folder of the run.

    Args:
        run: the folder of a finished run.
        data: the folder of its data set.
        plan: the attacks.
        images: number of test questions, one about each image; all if there are fewer.
        batch: questions per pass.
        computing: the device.

    Raises:
        UsageProblemError: the folder is not a run, or the images have no masks and the plan needs them.
        DataProblemError: the run is not finished, has no weights, or a file is damaged; or its network has no gradient.
    """
    _, network, split = load_explained(run, data, images, computing, plan.needs_masks)
    bar = tqdm(total=len(split) * len(plan.attacks()), unit=" images", desc="attacks", disable=None)
    try:
        with computing.backend_flags(), bar:
            fooling = measure_fooling(network, split, plan, batch, bar.update)
    except ValueError as error:
        raise DataProblemError(f"{run}: {error}") from error
    return RECORD.write(run, attack_content(data.name, fooling, plan, batch, computing.device_name))
