"""When compiled kernels must not replace plain operators."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from bench.kernels.transforms import assume_constant_result, in_func_transform, is_feature, is_single, watched
from tests.helpers import TOP


def test_nothing_is_watched_in_plain_code_and_without_gradients():
    assert not watched()
    with torch.no_grad():
        assert not watched()
    with torch.inference_mode():
        assert not watched()


def seen_in(transform) -> list[bool]:
    """Return whether operations are watched inside a transform of a function."""
    seen = []
    transform(lambda x: seen.append((watched(), in_func_transform())) or x.square().sum())(torch.ones(3))
    return [one for pair in seen for one in pair]


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap, torch.func.jacrev])
def test_transforms_of_functions_are_watched(transform):
    assert seen_in(transform) == [True, True]
    assert not watched()


def test_forward_differentiation_and_modes_are_watched():
    with forward_ad.dual_level():
        assert watched()
    with TorchFunctionMode():
        assert watched()
    with torch.device("cpu"):  # a function mode
        assert watched()
    assert not watched()


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated")
def test_tracing_is_watched():
    seen = []
    torch.jit.trace(lambda x: seen.append(watched()) or x + 1, torch.ones(2), check_trace=False)
    assert seen == [True]


@pytest.mark.parametrize(
    ("numbers", "single"),
    [
        (torch.ones(2), True),
        (nn.Parameter(torch.ones(2)), True),
        (None, False),
        (torch.ones(2).double(), False),
        (torch.ones(2, dtype=torch.bfloat16), False),
        (torch.ones(2, device="meta"), False),
        (nn.Buffer(torch.ones(2)).as_subclass(type("Own", (torch.Tensor,), {})), False),
    ],
    ids=["tensor", "parameter", "none", "double", "bfloat16", "meta", "subclass"],
)
def test_only_plain_tensors_in_single_precision_on_the_cpu_are_single(numbers, single):
    assert is_single(numbers) == single


def test_features_may_be_in_bf16_under_autocast():
    single, half = torch.ones(2), torch.ones(2, dtype=torch.bfloat16)
    assert is_feature(single)
    assert not is_feature(half)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_feature(single)
        assert is_feature(half)
        assert not any(map(is_feature, (half.double(), half.half(), half.to("meta"), nn.Parameter(half))))
    with torch.autocast("cpu", torch.float16):
        assert not is_feature(half)


def test_a_constant_function_is_marked_as_the_compiler_marks_it_and_called_once():
    calls = []

    def factor() -> float:
        calls.append(torch.compiler.is_compiling())
        return 3.0

    def other() -> float:
        return 3.0

    marked = assume_constant_result(factor)
    assert marked is factor
    assert vars(factor) == vars(torch.compiler.assume_constant_result(other))
    scaled = torch.compile(lambda x: x * factor(), backend="eager", fullgraph=True)
    assert [scaled(torch.ones(1)).item() for _ in range(2)] == [3.0, 3.0]
    assert len(calls) == 1


def test_a_network_is_built_and_used_without_the_compiler():
    code = (
        "import sys, torch, bench; model = bench.create_model('pan-ctx', 'mini').eval();"
        "model(torch.zeros(1, 3, 48, 48), torch.tensor([1])); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
