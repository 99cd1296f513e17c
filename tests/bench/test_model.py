"""Several questions about an image in one pass: equal to single questions; and the questions of a step."""

import itertools

import pytest
import torch
from torch import nn

import bench
from bench.attention import MECHANISMS
from bench.attention.arnn import AttentionRNN
from bench.attention.base import SlotFeatures, repeat_for_questions
from bench.conformance.checks import check_mechanism
from bench.data.grouping import parts_of
from tests.bench.attention.user_modules import GOOD, TWO_LEVELS, write_module

MIXED = (
    *("none,arnn", "pan,none", "coord,pan", "se,none", "pan,ltpa-dp", "stn-m,ltpa-pc", "coord,stn-s", "none,self"),
    *("film,none", "coord,ltpa-dp", "none,se,none,san", "stn-m,none"),
)
IMAGES, OF = 3, torch.tensor([2, 0, 1, 1, 2, 0, 2])
QUERY = torch.tensor([3, 1, 4, 1, 5, 9, 2])


def network(attn: str) -> nn.Module:
    """Return a small network in float64 without sampling, with all initial parameters changed."""
    torch.manual_seed(0)
    model = bench.create_model(attn, classes=4, queries=10, size=(19, 22), width=8).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    for module in model.modules():
        if isinstance(module, AttentionRNN):
            module.sigma_scale = 0.0
    return model


def outcome(model: nn.Module, call_mechanism) -> list[torch.Tensor]:
    """Return logits and maps, and the gradients of a random linear function of them."""
    images = torch.rand(IMAGES, 3, 19, 22, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    model.zero_grad()
    out = call_mechanism(images)
    generator = torch.Generator().manual_seed(2)
    sum((part * torch.randn(part.shape, generator=generator)).sum() for part in out).backward()
    gradients = [p.grad if p.grad is not None else torch.zeros(()) for p in model.parameters()]
    return [*(part.detach() for part in out), images.grad, *gradients]


def one_by_one(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    outs = [
        model(images[image_index : image_index + 1], query[None])
        for image_index, query in zip(OF.tolist(), QUERY, strict=True)
    ]
    return [torch.cat([out.logits for out in outs]), *map(torch.cat, zip(*(out.masks for out in outs), strict=True))]


def check_against_one_by_one(model) -> None:
    """Compare answers, maps and gradients of several questions per image with those of one question at a time."""

    def together(images: torch.Tensor) -> list[torch.Tensor]:
        out = model(images, QUERY, OF)
        return [out.logits, *out.masks]

    found, wanted = outcome(model, together), outcome(model, lambda images: one_by_one(model, images))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("attn", [*MECHANISMS, *MIXED])
def test_questions_in_any_order_have_the_answers_of_single_questions(attn):
    check_against_one_by_one(network(attn))


@pytest.mark.parametrize("attn", [*MECHANISMS, *MIXED])
def test_equal_numbers_of_questions_per_image_form_a_grid(attn):
    model, query = network(attn), torch.tensor([[0, 9, 9, 5], [1, 2, 3, 4], [7, 7, 0, 1]])
    images = torch.rand(IMAGES, 3, 19, 22).double()
    grid = model(images, query)
    flat = model(images, query.flatten(), torch.arange(IMAGES).repeat_interleave(4))
    assert grid.logits.shape == (IMAGES, 4, 4)
    torch.testing.assert_close(grid.logits.flatten(0, 1), flat.logits, rtol=1e-9, atol=1e-12)
    assert [mask.shape[:3] for mask in grid.masks] == [(IMAGES, 4, 1)] * len(flat.masks)
    for a, b in zip(grid.masks, flat.masks, strict=True):
        torch.testing.assert_close(a.flatten(0, 1), b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("attn", ["{own}:Own", "none,{own}:Own", "{own}:Blind,pan", "{own}:Blind", "pan,{own}:Two"])
def test_user_modules_answer_several_questions_per_image(attn, tmp_path):
    text = (
        GOOD
        + "class Blind(Own):\n    uses_query = False\n    def forward(self, x, query):\n        return self.score(x)\n"
        + TWO_LEVELS
    )
    check_against_one_by_one(network(attn.format(own=write_module(tmp_path, text))))


PARTED = """
class Own(nn.Module):
    def __init__(self, channels, query_dim):
        super().__init__()
        self.score, self.ask = nn.Conv2d(channels, 1, 1), nn.Linear(query_dim, 1)
    def prepare(self, x):
        return self.score(x)
    def answer(self, prepared, query):
        return prepared * self.ask(query)[:, :, None, None]
    def forward(self, x, query):
        return {factor} * self.answer(self.prepare(x), query)
"""


@pytest.mark.parametrize("factor", [1, 2])
def test_check_compares_shared_and_single_questions(factor, tmp_path):
    findings = check_mechanism(f"{write_module(tmp_path, PARTED.format(factor=factor))}:Own")
    assert [f.ok for f in findings if "several questions" in f.description] == [factor == 1]


@pytest.mark.parametrize(
    ("attn", "images"),
    [("san", [3] * 4), ("none", [3] * 4), ("pan", [3, 7, 7, 7]), ("none,arnn", [3, 3, 7, 7]), ("se,none", [3] * 4)],
)
def test_layers_before_the_query_run_once_per_image(attn, images):
    model, seen = network(attn), []
    for stage in model.stages:
        stage.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    model(torch.rand(IMAGES, 3, 19, 22).double(), QUERY, OF)
    assert seen == images


def test_repeated_features_keep_their_memory_layout():
    x = torch.rand(3, 4, 5, 6).to(memory_format=torch.channels_last)
    for image_index in (OF, 2):
        assert repeat_for_questions(x, image_index).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(repeat_for_questions(x, 2), x.repeat_interleave(2, 0))
    assert repeat_for_questions((x, None, 3), OF)[1:] == (None, 3)
    levels = SlotFeatures([x, x[OF]], 1, OF)
    assert len(levels) == 2
    assert all(torch.equal(level, x[OF]) for level in (*levels, levels[-1], *levels[-2:]))


IMAGE = torch.tensor([0, 0, 0, 2, 2, 3, 5, 5, 5, 5, 5, 5])
COUNTS = [3, 2, 1, 6]


def test_step_contains_all_questions_of_its_images():
    order = torch.tensor([[3, 0], [1, 2]])
    parts, rows = parts_of(IMAGE, order, slice(0, 2), "all", 0, 0)
    assert [part.tolist() for part in parts] == [[6, 7, 8, 9, 10, 11, 0, 1, 2], [3, 4, 5]]
    assert [tuple(row) for row in rows] == [(0, 9, 9), (0, 3, 3)]


@pytest.mark.parametrize("questions", ["all", 1, 2, 4])
def test_question_rows_of_processes_are_those_of_one_process(questions):
    order = torch.tensor([[3, 0, 2], [1, 2, 0]])
    whole, _ = parts_of(IMAGE, order, slice(0, 3), questions, 1, 5)
    shared = [parts_of(IMAGE, order, own, questions, 1, 5) for own in (slice(0, 2), slice(2, 3))]
    for step, part in enumerate(whole):
        assert torch.equal(torch.cat([parts[step] for parts, _ in shared]), part)
        (first, end, total), (start, stop, same) = (rows[step] for _, rows in shared)
        assert (first, end, stop, total, same) == (0, start, len(part), len(part), len(part))


@pytest.mark.parametrize("questions", [1, 2, 4])
def test_each_question_is_drawn_equally_often(questions):
    order = torch.arange(4)[None]
    drawn = [parts_of(IMAGE, order, slice(0, 4), questions, epoch, 3)[0][0] for epoch in range(12)]
    assert {len(part) for part in drawn} == {4 * questions}
    for first, count in zip(itertools.accumulate([0, *COUNTS[:-1]]), COUNTS, strict=True):
        times = torch.cat(drawn).bincount(minlength=12)[first : first + count]
        assert times.tolist() == [12 * questions // count] * count
        for part in drawn:
            own = part[(part >= first) & (part < first + count)]
            assert len(own) == questions
            assert len(own.unique()) == min(questions, count)
    other = parts_of(IMAGE, order, slice(0, 4), questions, 0, 4)[0][0]
    assert questions == 1 or not torch.equal(other, drawn[0])


def test_network_refuses_wrong_queries():
    model = bench.create_model("pan", variant="mini")
    with pytest.raises(RuntimeError):
        model(torch.rand(1, 3, 48, 48), torch.tensor([10]))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 1)])
def test_a_query_needs_a_row_for_each_image(shape):
    model = bench.create_model("pan", "mini").eval()
    images, query = torch.rand(2, 3, 40, 40), torch.zeros(shape, dtype=torch.long)
    with pytest.raises(ValueError, match="for 2 images: give a row for each image, or image_index"):
        model(images, query)
