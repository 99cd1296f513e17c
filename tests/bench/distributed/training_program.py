"""A program of several processes for test_process_group.py: the same trainings as in one process.

`torchrun … tests/bench/distributed/training_program.py DATA OUT [NETWORK …]`: the first process writes the weights and
records of these networks in double precision, or of all networks and precisions.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.base import Gate
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.loading import load_split
from bench.data.split import Batch, Resident, Split
from bench.distributed.process_group import SINGLE_PROCESS, SingleProcess, join
from bench.evaluation.evaluate import accuracy
from bench.evaluation.evaluate import test as measure
from bench.model import Output, create_model
from bench.training.trainer import DivergedError, Trainer, TrainingSplits

CPU = torch.device("cpu")
PAN = Recipe("pan", "rmsprop", lr=0.003, batch=25, epochs=2, schedule="steps")
FAST = Recipe("fast", "adam", lr=0.003, batch=25, epochs=2, schedule="onecycle")
RESIDUAL = "cbam in resnet18"
EXACT = ("han", "none,none,arnn-sampled", "film", "stn-m", "own", RESIDUAL, "han*", "none,none,arnn-sampled*", "film*")
"""Networks trained in double precision with the recipe PAN. "own" is `Own`; a step of networks with * has all
questions about its images. `RESIDUAL` classifies images without questions and masks, which are augmented."""
SINGLE = {"none": "fp32", "cbam-arnn": "bf16"}
"""Networks trained in lower precision with the recipe FAST, and their precisions."""
NORMS = {
    "1d": (nn.BatchNorm1d(3), (11, 3)),
    "1d of sequences": (nn.BatchNorm1d(3, momentum=0.3), (11, 3, 5)),
    "2d": (nn.BatchNorm2d(3, eps=0.01), (11, 3, 4, 5)),
    "no weights": (nn.BatchNorm2d(3, affine=False), (11, 3, 4, 5)),
    "no running statistics": (nn.BatchNorm2d(3, track_running_stats=False), (11, 3, 4, 5)),
    "mean of all": (nn.BatchNorm2d(3, momentum=None), (11, 3, 4, 5)),
}


class Own(nn.Module):
    """A user module with functional batch statistics and dropout, and a parameter that has no gradient."""

    def __init__(self, channels: int, query_dim: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        self.attend = nn.MultiheadAttention(channels, 2, dropout=0.2, batch_first=True)
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor, query: Tensor) -> Tensor:
        tokens = F.avg_pool2d(x, x.shape[-1] // 3).flatten(2).transpose(1, 2)
        seen = self.attend(tokens, tokens, tokens)[0].mean(dim=1)[:, :, None, None]
        noise = 0.1 * torch.randn(len(x), 1, 1, 1, dtype=x.dtype) + torch.rand(1, dtype=x.dtype)
        x = F.batch_norm(F.dropout2d(x + seen, 0.1, self.training), None, None, training=True)
        return self.score(F.dropout(x.permute(0, 2, 3, 1), 0.2).permute(0, 3, 1, 2)) + noise


class Broken(nn.Module):
    """A network with one replaced value in its answers to all questions, or to the questions about one digit.

    Args:
        model: the network.
        part: where the value is: in the "answers", in a "class" of the answers, or in the "maps".
        value: the new value.
        query: the digit of the questions; None for all questions.
    """

    def __init__(self, model: nn.Module, part: str, value: float, query: int | None = 3) -> None:
        super().__init__()
        self.model, self.part, self.value, self.query = model, part, value, query

    @property
    def stages(self) -> nn.Module:
        return self.model.stages

    def forward(self, images: Tensor, query: Tensor) -> Output:
        out = self.model(images, query)
        rows = query == self.query if self.query is not None else torch.ones_like(query, dtype=torch.bool)
        if self.part != "maps":
            logits = out.logits.clone()
            logits[rows, 0] = self.value
            return out._replace(logits=logits)
        masks = [mask.clone() for mask in out.masks]
        for mask in masks[-1:]:
            mask[rows, 0, 0, 1] = self.value
        return out._replace(masks=masks)


class Exact(Resident):
    """A split with images in double precision."""

    def _build_batch(self, *parts) -> Batch:
        batch = super()._build_batch(*parts)
        return replace(batch, images=batch.images.double())


def few(data: Path, name: str, questions: int, exact: bool, queries: str = "one") -> Split:
    """Return the first questions of a split."""
    split = load_split(data, name, queries, CPU, masks=True)
    cut = {key: getattr(split, key)[:questions] for key in ("image", "slot", "query", "label", "scale")}
    return (Exact if exact else Resident)(**{**vars(split), **cut})


def without_questions(split: Split) -> Split:
    """Return the split as one of a task: with labels, and without questions, masks and scales."""
    fields = {**vars(split), "query": torch.zeros_like(split.query), "asks": False, "instance": None, "scale": None}
    return type(split)(**fields)


def trainer(data: Path, attn: str, exact: bool, group: SingleProcess, recipe: Recipe | None = None) -> Trainer:
    """Return a trainer with two steps per epoch."""
    torch.manual_seed(0)
    every, attn = attn.endswith("*"), attn.removesuffix("*")
    if attn == RESIDUAL:
        model = create_model("cbam", classes=5, queries=0, size=(48, 48), network="resnet18", width=4)
    else:
        model = create_model("none" if attn == "own" else attn, variant="mini")
    if attn == "own":
        model.gates = nn.ModuleDict({"1": Gate(Own(32, 10), 32)})
    for name, parameter in model.named_parameters():
        if name.endswith("theta.bias"):  # at the identity, rounding decides between which pixels a position is
            parameter.data += 0.3 * torch.rand(6)
    model = (model.double() if exact else model).to(memory_format=torch.channels_last)
    train, val = few(data, "train", 55, exact, "all" if every else "one"), few(data, "val", 21, exact)
    computing = ComputeConfig(CPU, "fp32" if exact else SINGLE[attn])
    usual = replace(PAN, batch=7, questions="all") if every else PAN if exact else FAST
    if attn == RESIDUAL:
        train, val, usual = without_questions(train), without_questions(val), replace(usual, augment="flip+crop")
    return Trainer(recipe or usual, model, TrainingSplits(train, val), 0, computing, group=group)


def trained(
    data: Path, attn: str, exact: bool, group: SingleProcess = SINGLE_PROCESS
) -> tuple[dict[str, Tensor], dict]:
    """Return the weights and the records of a training."""
    training = trainer(data, attn, exact, group)
    history = [{**record, "seconds": 0, "device_seconds": 0} for record in training.epochs()]
    test = few(data, "test", 21, exact)
    tested = measure(training.model, without_questions(test) if attn == RESIDUAL else test, group=group).measures
    return dict(training.model.state_dict()), {"history": history, "test": tested}


def normed(name: str, group: SingleProcess = SINGLE_PROCESS) -> dict[str, Tensor]:
    """Return outputs, gradients and running statistics of two passes through a batch normalisation in fp64."""
    module, shape = NORMS[name]
    module = type(module)(
        **{key: getattr(module, key) for key in ("num_features", "eps", "momentum", "affine", "track_running_stats")}
    ).double()
    generator = torch.Generator().manual_seed(3)
    found = {}
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    for turn in range(2):
        x, slope = 5 + 3 * torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        rows = group.rows(len(x))
        own = x[rows].clone().requires_grad_()
        with group.global_batch(len(x)):
            y = module(own)
        (y * slope[rows]).sum().backward()
        found |= {f"y{turn}": whole(y.detach(), x, rows, group), f"to x{turn}": whole(own.grad, x, rows, group)}
    found |= {f"to {key}": group.all_reduce(p.grad.clone()) for key, p in module.named_parameters()}
    return found | {key: value.clone() for key, value in module.state_dict().items()}


def whole(own: Tensor, x: Tensor, rows: slice, group: SingleProcess) -> Tensor:
    """Return the complete tensor, of which every process has rows."""
    every = torch.zeros_like(x)
    every[rows] = own
    return group.all_reduce(every)


def diverged(data: Path, group: SingleProcess = SINGLE_PROCESS) -> str:
    """Return the error of a training whose learning rate is NaN."""
    try:
        list(trainer(data, "none", False, group, replace(FAST, lr=math.inf, optimizer="rmsprop")).epochs())
    except DivergedError as error:
        return str(error)
    return "not at all"


def unfit(data: Path, group: SingleProcess = SINGLE_PROCESS) -> list[str]:
    """Return the errors of validations and tests whose answers or maps are not finite, or are negative."""
    said = []
    for part, value in (("answers", math.nan), ("maps", math.inf), ("maps", -1.0)):
        torch.manual_seed(0)
        model = Broken(create_model("pan", variant="mini"), part, value)
        for ask in (accuracy, measure):
            try:
                ask(model, few(data, "test", 21, exact=False), 5, group)
                said.append("not at all")
            except (DivergedError, ValueError) as error:
                said.append(str(error))
    return said


def main() -> None:
    data, out, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    with join() as group:
        tensors: dict[str, Tensor] = {}
        records: dict[str, object] = {"diverged": diverged(data, group), "unfit": unfit(data, group)}
        single = [] if wanted else [(attn, False) for attn in SINGLE]
        for attn, exact in [(attn, True) for attn in wanted or EXACT] + single:
            weights, records[f"{attn}/{exact}"] = trained(data, attn, exact, group)
            tensors |= {f"{attn}/{exact}/{key}": value.contiguous() for key, value in weights.items()}
        for name in NORMS:
            tensors |= {f"norm/{name}/{key}": value for key, value in normed(name, group).items()}
        if group.is_main:
            save_file(tensors, out / "tensors.safetensors")
            (out / "records.json").write_text(json.dumps(records))


if __name__ == "__main__":
    main()
