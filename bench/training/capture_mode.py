"""Choice between eager training steps and steps that are captured as a CUDA graph. Pure."""

from bench.attention import NetworkSpec
from bench.config import Recipe
from mnistref.common.errors import UsageProblemError
from mnistref.spec import VariantSpec


def resolve_capture(
    capture: str, device: str, network: NetworkSpec, variant: VariantSpec, recipe: Recipe, distributed: bool = False
) -> tuple[str, str]:
    """Return the capture mode of a run, "eager" or "graph", and the reason if "auto" becomes "eager" on CUDA.

    Args:
        capture: "auto", "eager" or "graph". "auto" becomes "graph" if the device is CUDA and the steps allow it.
        device: "cpu" or "cuda".
        network: the network of the run.
        variant: the variant of the data set.
        recipe: a graph requires that all steps have the same number of questions.
        distributed: whether several processes share the run.

    Returns:
        The capture mode, and one line for people, or an empty string.

    Raises:
        UsageProblemError: `capture` is "graph", and the steps have different numbers of questions.
    """
    if capture == "graph" and recipe.questions == "all":
        raise UsageProblemError(
            "--capture graph: all steps must have the same number of questions; "
            f"use --questions {variant.digits[0]} or one"
        )
    if capture != "auto":
        return capture, ""
    if device != "cuda":
        return "eager", ""
    if reason := explain_eager(network, variant, recipe, distributed):
        return "eager", f"steps are not captured as a CUDA graph (--capture eager): {reason}"
    return "graph", ""


def explain_eager(network: NetworkSpec, variant: VariantSpec, recipe: Recipe, distributed: bool) -> str:
    """Return why "auto" does not capture the steps on CUDA; an empty string if it does."""
    if distributed:
        return "several processes share the run"
    if recipe.questions == "all":
        return f"steps have different numbers of questions; use --questions {variant.digits[0]} or one to capture them"
    if network.has_user_module:
        return "a user module may not support it; use --capture graph to try"
    return ""
