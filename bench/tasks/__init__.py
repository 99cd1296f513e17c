"""Tasks: data sets that `mnistref` does not make, with one label for each image and no question."""

from bench.tasks.preparation import TASKS, is_task_name, prepare_task, resolve_task
from bench.tasks.store import TaskManifest, is_task, read_task
from bench.tasks.task_spec import TaskSpec

__all__ = [
    "TASKS",
    "TaskManifest",
    "TaskSpec",
    "is_task",
    "is_task_name",
    "prepare_task",
    "read_task",
    "resolve_task",
]
