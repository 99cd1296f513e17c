"""Whether a step of training is issued anew each time, or recorded as a CUDA graph and replayed. Pure."""

from bench.attention import has_user_module
from bench.config import Recipe
from mnistref.common.errors import UsageProblemError
from mnistref.spec import VariantSpec


def resolved(
    capture: str, device: str, attn: str, variant: VariantSpec, recipe: Recipe, processes: bool = False
) -> tuple[str, str]:
    """Return "eager" or "graph" for what a user asks of a run, and one line that says why not "graph", or "".

    Args:
        capture: "auto", "eager" or "graph". What is asked for stays; "auto" is "graph" on CUDA where it can be.
        device: "cpu" or "cuda".
        attn: a slot list.
        variant: of the data set.
        recipe: whose `questions` decide whether steps have one shape.
        processes: whether several share the run.

    Raises:
        UsageProblemError: "graph" is asked for, and steps have different shapes.
    """
    if capture == "graph" and recipe.questions == "all":
        raise UsageProblemError(
            f"--capture graph: each step needs as many questions; give --questions {variant.digits[0]} or one"
        )
    if capture != "auto":
        return capture, ""
    if device != "cuda":
        return "eager", ""
    if why := why_eager(attn, variant, recipe, processes):
        return "eager", f"a step is issued, not recorded as a CUDA graph (--capture eager): {why}"
    return "graph", ""


def why_eager(attn: str, variant: VariantSpec, recipe: Recipe, processes: bool) -> str:
    """Return why no graph is recorded on CUDA unless it is asked for, or an empty string."""
    if processes:
        return "several processes share the run"
    if recipe.questions == "all":
        return f"steps have different numbers of questions; --questions {variant.digits[0]} or one makes them alike"
    if has_user_module(attn):
        return "nobody knows whether a module of one's own can be recorded; --capture graph tries it"
    return ""
