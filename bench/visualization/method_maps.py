"""A network whose maps are those of a map method, for pictures."""

import torch
from torch import Tensor, nn

from bench.attribution.explain import seeded
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.map_method import MapMethod
from bench.model import Output
from mnistref.common.errors import UsageProblemError


class MethodMaps(nn.Module):
    """A network that answers like another one, and whose only map is that of a map method for its answer.

    Args:
        model: the network.
        name: its name, for errors.
        classes: number of classes.
        method: the map method.
        seed: seed of random maps and noise.
    """

    def __init__(self, model: nn.Module, name: str, classes: int, method: MapMethod, seed: int = 0) -> None:
        super().__init__()
        self.network = ExplainedNetwork(model, classes)
        self.name, self.method, self.seed = name, method, seed

    @torch.inference_mode(False)
    @torch.enable_grad()
    def forward(self, images: Tensor, query: Tensor) -> Output:
        """Return the answers of the network, and the map of the method as the map of slot 0.

        Raises:
            UsageProblemError: the method has no map for this network, or needs a package that is missing.
        """
        images, query = images.clone(), query.clone()
        with self.network.frozen():
            with torch.no_grad():
                out = self.network.output(images, query)
            with seeded(self.seed, self.method.name, 0):
                maps = self.method.compute(self.network, images, query, out.logits.argmax(1))
        if maps is None:
            raise UsageProblemError(f"{self.name} has {self.method.absence}; choose another method with --map")
        return Output(out.logits, [maps.detach().unsqueeze(1)], last_mask=False, slots=(0,))
