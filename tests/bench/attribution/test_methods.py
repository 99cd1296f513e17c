"""Each map method against Captum's own call, finite differences, or its definition."""

import subprocess
import sys

import pytest
import torch

from bench.attribution.explain import seeded
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.methods import DEFAULT_METHODS, METHODS, find_method, find_methods
from bench.model import create_model
from mnistref.common.errors import UsageProblemError
from tests.bench.attribution.small_networks import brightness_in_a_corner, classes_of
from tests.helpers import TOP

pytest.importorskip("captum")
FAST = [name for name, method in METHODS.items() if not method.is_slow]


@pytest.mark.parametrize("attn", ["none", "san", "pan-ctx", "arnn", "han", "stn-s", "arnn-sampled", "none,cbam"])
def test_every_fast_method_gives_maps_for_every_mechanism(attn, batch):
    torch.manual_seed(1)
    network = ExplainedNetwork(create_model(attn, "mini").eval(), 5)
    with network.frozen():
        classes = classes_of(network, batch)
        for name in FAST:
            with seeded(0, name, 0):
                maps = METHODS[name].compute(network, batch.images, batch.query, classes)
            if maps is None:
                assert name in ("cam", "two-levels") or (name, attn) == ("attention", "none")
                continue
            assert maps.shape[0] == 4
            assert maps.ndim == 3
            assert torch.isfinite(maps).all()
            assert (maps >= 0).all()


@pytest.mark.parametrize("name", ["gradient", "input-x-gradient", "smoothgrad", "integrated-gradients", "occlusion"])
def test_a_map_method_finds_the_only_pixels_that_matter(name):
    torch.manual_seed(0)
    network = ExplainedNetwork(brightness_in_a_corner, 5)
    images, query = 0.5 + 0.5 * torch.rand(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)
    maps = METHODS[name].compute(network, images, query, torch.zeros(2, dtype=torch.long))
    inside = maps[:, :16, :16].sum((1, 2)) / maps.sum((1, 2))
    assert (inside > (0.7 if name == "occlusion" else 0.999)).all()


def test_map_methods_are_found_by_name():
    assert [method.name for method in find_methods("gradcam,uniform")] == ["gradcam", "uniform"]
    assert len(find_methods("all")) == len(METHODS)
    with pytest.raises(UsageProblemError, match="did you mean 'gradcam'"):
        find_methods("grad-cam")
    with pytest.raises(UsageProblemError, match="twice"):
        find_methods("gradcam,gradcam")
    with pytest.raises(UsageProblemError, match="no map method"):
        find_method("")


def test_map_methods_have_the_order_of_tables():
    gradients = ["gradient", "input-x-gradient", "smoothgrad", "integrated-gradients", "gradcam", "occlusion"]
    assert list(METHODS) == ["attention", "two-levels", "cam", *gradients, "rise", "uniform", "center", "random"]
    assert list(DEFAULT_METHODS) == FAST
    assert [name for name, method in METHODS.items() if method.is_baseline] == ["uniform", "center", "random"]
    assert all(method.source or method.is_baseline for method in METHODS.values())


def test_names_of_map_methods_need_no_torch():
    code = "import sys; from bench.attribution.methods import METHODS; "
    code += "print(len(METHODS), {'torch', 'numpy', 'captum'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(METHODS)), "set()"]
