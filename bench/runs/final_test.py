"""The test of a run: the network of the best epoch, its answers, snapshots and costs."""

import logging

from bench.attention.user_code import describe_error
from bench.data.loading import load_split
from bench.evaluation import batch_size, snapshots
from bench.evaluation.columns import COSTS, DIAGONAL_LSTM, PARAMS
from bench.evaluation.evaluate import Measure, TestResult, test
from bench.evaluation.record_keys import BEST_EPOCH, EPOCHS, VAL_ACCURACY
from bench.kernels.diagonal_lstm.implementation_log import join_names, record_implementations
from bench.model import SlotNetwork
from bench.profiling import run_cost
from bench.runs import records
from bench.runs.run_context import RunContext
from bench.training import checkpoints
from bench.training.progress import RunProgress
from bench.training.trainer import Trainer
from mnistref.common.errors import format_traceback

log = logging.getLogger("bench")


def test_best_weights(
    context: RunContext, trainer: Trainer, model: SlotNetwork, progress: RunProgress
) -> dict[str, Measure | str]:
    """Test the network of the best epoch, write its weights and answers, and return the measures and costs."""
    config, computing, group, folder = context.config, context.computing, context.options.group, context.folder
    variant = context.manifest.variant
    del trainer.train  # releases the memory of the training data
    model.load_state_dict(trainer.best_weights)
    if group.is_main:
        checkpoints.save_weights(folder / records.WEIGHTS, model)
    split = load_split(
        context.data,
        "test",
        queries=config.queries,
        device=computing.device,
        masks=True,
        stream=context.options.data.stream,
    )
    with computing.autocast(), record_implementations(trainer.implementations):
        with progress.bar("test", len(split), " questions") as bar:

            def attempt(size: int) -> TestResult:
                bar.reset()
                return test(model, split, size, group, bar.update)

            tested = batch_size.in_memory(trainer.eval_batch_sizes, attempt)
        if group.is_main:
            records.write_answers(folder, tested.answers)
            snapshots.write_snapshots(folder, snapshots.take_snapshots(model, split, variant))
    costs = None
    if group.is_main and context.options.progress.timing:
        costs = _measure_cost(context, trainer, model, progress)
    return {
        **tested.measures,
        **(costs or dict.fromkeys(COSTS)),
        EPOCHS: trainer.epoch,
        BEST_EPOCH: trainer.best_epoch,
        VAL_ACCURACY: trainer.best_accuracy,
        PARAMS: sum(p.numel() for p in model.parameters()),
        DIAGONAL_LSTM: join_names(trainer.implementations),
    }


def _measure_cost(
    context: RunContext, trainer: Trainer, model: SlotNetwork, progress: RunProgress
) -> dict[str, float | int] | None:
    """Return the measured costs, or None if the timing fails. A failed timing does not affect the tested accuracy.

    The traceback of the error is written into the folder of the run.
    """
    progress.report_phase("timing a training step and inference")
    try:
        with progress.bar("timing", 2 * run_cost.timing_rounds(), " rounds") as bar:
            return run_cost.measure_cost(
                context.config,
                model,
                variant=context.manifest.variant,
                computing=context.computing,
                batch=trainer.batch,
                on_round=bar.update,
            )
    except (Exception, SystemExit) as error:  # user code may raise any error
        records.write_traceback(context.folder, format_traceback(error))
        log.warning(
            "the timing failed: %s; the test is done and its result is kept, without times; see %s in the run's "
            "folder; --no-timing omits the timing",
            describe_error(error),
            records.TRACEBACK,
        )
    model.load_state_dict(trainer.best_weights)  # the timing changes the weights until its end
    return None
