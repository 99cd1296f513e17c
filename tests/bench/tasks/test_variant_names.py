"""Names of variants and tasks, and whether their images come with questions."""

from bench.tasks import TASKS
from bench.tasks.variant_names import has_questions, is_task_variant
from mnistref.variants import VARIANTS


def test_every_variant_asks_but_mone_and_no_task_does():
    assert {name for name in VARIANTS if not has_questions(name)} == {n for n, v in VARIANTS.items() if not v.asks}
    assert not any(map(has_questions, (*TASKS, "mone", "folder-photos")))
    assert has_questions("mbg")
    assert has_questions("variant-of-an-earlier-version")


def test_tasks_and_folders_are_no_variants_of_mnistref():
    assert all(map(is_task_variant, (*TASKS, "folder-photos")))
    assert not any(map(is_task_variant, VARIANTS))
