"""An executor that behaves as workers on other machines do, and what a run does with a refused result."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace

import pytest

from mnistref.common.errors import ProblemError, RunProblemError
from mnistref.generation.generate import Request, generate
from mnistref.generation.shard_worker import ShardJob, ShardResult
from mnistref.inspection.verify import verify


class RemoteExecutor(Executor):
    """An executor that runs jobs at once as a remote worker does, with a changed job or a changed answer."""

    def __init__(
        self, change: Callable[[ShardJob], ShardJob], answer: Callable[[ShardResult], object] = lambda made: made
    ):
        self.change, self.answer = change, answer

    def submit(self, fn, /, job, **_) -> Future:
        future: Future = Future()
        try:
            future.set_result(self.answer(fn(replace(self.change(job), parent_process="another machine"))))
        except Exception as error:
            future.set_exception(error)
        return future


def same(job: ShardJob) -> ShardJob:
    return job


def refused(request: Request, executor: Executor, message: str, error: type[ProblemError] = RunProblemError) -> None:
    with pytest.raises(error, match=message):
        generate(request, executor=executor)
    assert not list(request.root.glob("datasets/*/SHA256SUMS"))
    assert verify(generate(request)) == []
