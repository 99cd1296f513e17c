"""A network whose answers are explained: scores of classes with gradients, and its own attention maps.

Shapes: B questions, each about its own image of H × W pixels, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.evaluation import unchecked_metrics as metrics
from bench.evaluation.any_model import AnyModel, Model, as_network
from bench.evaluation.evaluate import same_draws
from bench.model import Output, SlotNetwork


class ExplainedNetwork:
    """A network in evaluation mode whose parameters get no gradients.

    Call its methods inside `frozen`, which restores the network afterwards.

    Args:
        model: a module, or a function of (images, query), see `bench.evaluation.any_model.AnyModel`.
        classes: K.
        layer: the layer of Grad-CAM; by default that which the network names, or else the last convolution.
        asks: whether images have a question.

    Raises:
        ValueError: the model cannot be called.
    """

    def __init__(self, model: Model, classes: int, layer: nn.Module | None = None, asks: bool = True) -> None:
        network = as_network(model, classes, asks)
        if isinstance(network, AnyModel):
            network.keeps_gradients = True
        self.network, self.classes = network, classes
        self.layer = layer if layer is not None else _last_convolution(network)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    @contextmanager
    def frozen(self) -> Iterator["ExplainedNetwork"]:
        """Inside this context, the network is in evaluation mode and its parameters get no gradients."""
        modes = {module: module.training for module in self.network.modules()}
        grads = {parameter: parameter.requires_grad for parameter in self.network.parameters()}
        self.network.eval()
        self.network.requires_grad_(False)
        try:
            yield self
        finally:
            for module, mode in modes.items():
                module.training = mode
            for parameter, needs in grads.items():
                parameter.requires_grad_(needs)

    def output(self, images: Tensor, query: Tensor) -> Output:
        """Return the answers and maps. Random mechanisms draw the same samples in every call.

        Raises:
            ValueError: the model returns no logits.
        """
        with same_draws(images.device):
            out: Output = self.network(images, query)
        if isinstance(self.network, AnyModel) and not self.network.has_answers:
            raise ValueError("the model returned maps without logits: an explanation needs the scores of the classes")
        return out

    def scores(self, images: Tensor, query: Tensor) -> Tensor:
        """Return the score of each class before the softmax, (B, K). Gradients flow to the images."""
        return self.output(images, query).logits

    @torch.no_grad()
    def probabilities(self, images: Tensor, query: Tensor) -> Tensor:
        """Return the probability of each class, (B, K)."""
        return self.scores(images, query).float().softmax(1)

    @torch.no_grad()
    def attention(self, images: Tensor, query: Tensor, last: int = 0) -> Tensor | None:
        """Return the normalised product of the network's own maps, f4 (B, H, W); None if it has no map.

        Args:
            images: f4 (B, 3, H, W).
            query: i8 (B,).
            last: number of maps that are multiplied, counted from the last; 0 for all.
        """
        out = self.output(images, query)
        size = (images.shape[2], images.shape[3])
        return metrics.attended(out.masks[-last:], size, out.mask_power) if out.masks else None

    @property
    def levels(self) -> int:
        """Number of levels that the readout reads, see `bench.attention.base.Readout`; 1 for other models."""
        return int(getattr(getattr(self.network, "readout", None), "levels", 1))


def _last_convolution(network: nn.Module) -> nn.Module | None:
    """Return the layer that Grad-CAM explains: the last convolution, or the last block of a residual network."""
    if isinstance(network, SlotNetwork):
        return network.explained_layer
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    return convolutions[-1] if convolutions else None
