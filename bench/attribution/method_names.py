"""What is known of each map method without computing it: name, summary, source and cautions. Pure. Imports no PyTorch.

A new method needs an entry in `DESCRIPTIONS` here and its function in `bench.attribution.methods`.
"""

from dataclasses import dataclass

PREDICTION, LABEL = "prediction", "label"
EXPLAINED = {PREDICTION: "the network's answer", LABEL: "the right answer"}
"""Which class is explained: the network's answer, or the right one."""
SMOOTH_SAMPLES = 16
PATH_STEPS = 32
OCCLUSION_PIXELS = 9
RISE_MASKS = 500


@dataclass(frozen=True)
class MethodDescription:
    """What is known of a map method without computing it.

    Attributes:
        name: name on the command line and in records.
        summary: what it computes, one line.
        source: the paper, or "" for a baseline.
        is_baseline: whether the map ignores the network. A method that is not better than these shows nothing.
        is_slow: whether it needs hundreds of forward passes for each question.
        caution: when its scores are misleading; "" if no such case is known.
    """

    name: str
    summary: str
    source: str
    is_baseline: bool = False
    is_slow: bool = False
    caution: str = ""


_ON_BLACK = (
    "On a black background, the product with the image is zero wherever nothing is drawn, whatever the network does."
)

DESCRIPTIONS: dict[str, MethodDescription] = {
    method.name: method
    for method in (
        MethodDescription(
            "attention",
            "the network's own map: the product of the maps of all slots",
            "the papers of the mechanisms",
        ),
        MethodDescription(
            "gradient",
            "largest magnitude over the colour channels of the gradient of the class's score",
            "Simonyan et al., 2014",
        ),
        MethodDescription(
            "input-x-gradient",
            "magnitude of the sum over the colour channels of gradient × pixel",
            "Shrikumar et al., 2016",
            caution=_ON_BLACK,
        ),
        MethodDescription(
            "smoothgrad",
            f"`gradient`, averaged over {SMOOTH_SAMPLES} images with noise",
            "Smilkov et al., 2017",
        ),
        MethodDescription(
            "integrated-gradients",
            f"`input-x-gradient`, averaged over {PATH_STEPS} steps from a black image to the image",
            "Sundararajan et al., 2017",
            caution=_ON_BLACK,
        ),
        MethodDescription(
            "gradcam",
            "positive part of the last convolution's features, weighted by their mean gradients",
            "Selvaraju et al., 2017",
        ),
        MethodDescription(
            "occlusion",
            f"how much a black square of {OCCLUSION_PIXELS} × {OCCLUSION_PIXELS} pixels lowers the score",
            "Zeiler and Fergus, 2014",
            is_slow=True,
        ),
        MethodDescription(
            "rise",
            f"mean of {RISE_MASKS} random masks, weighted by the probability of the class on the masked image",
            "Petsiuk et al., 2018",
            is_slow=True,
            caution="The map is a mean of masks and nowhere near zero, so its mass is nearly that of the uniform map.",
        ),
        MethodDescription("uniform", "the same score everywhere", "", is_baseline=True),
        MethodDescription(
            "center", "a Gaussian in the middle of the image, σ a quarter of its side", "", is_baseline=True
        ),
        MethodDescription("random", "independent uniform numbers", "", is_baseline=True),
    )
}
"""Each method by its name, in the order of tables."""
DEFAULT_METHODS = tuple(name for name, method in DESCRIPTIONS.items() if not method.is_slow)
"""The methods that `bench saliency` computes by default."""
