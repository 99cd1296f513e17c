"""What the name of a variant or task says of its images. Pure."""

from bench.tasks.preparation import FOLDER_VARIANT, TASKS
from mnistref.variants import VARIANTS


def is_task_variant(variant: str) -> bool:
    """Return whether this is the variant name of a task, such as "cifar10" or "folder-photos"."""
    return variant in TASKS or variant.startswith(FOLDER_VARIANT)


def has_questions(variant: str) -> bool:
    """Return whether the images of a variant or task come with questions.

    Args:
        variant: its name. Unknown names are taken for variants with questions, as those of earlier versions were.
    """
    known = VARIANTS.get(variant)
    return known.asks if known else not is_task_variant(variant)
