"""The classifiers of networks."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from bench.attention import get_mechanism
from bench.attention.base import Reading
from bench.networks.heads import Head, HiddenHead, IndependentHeads, LinearHead, NormedHead, make_heads

MAKERS = {
    "Head": partial(Head, classes=3, query_dim=2, dropout=0.5),
    "LinearHead": partial(LinearHead, classes=3, query_dim=2),
    "NormedHead": partial(NormedHead, classes=3, query_dim=2, dropout=0.5),
    "HiddenHead": partial(HiddenHead, hidden=5, classes=3, query_dim=2, dropout=0.5),
}


@pytest.mark.parametrize("name", MAKERS)
def test_several_vectors_answer_by_their_weighted_mean(name):
    torch.manual_seed(0)
    head = MAKERS[name](4).double().eval()
    vectors, query = torch.randn(2, 3, 4).double(), torch.eye(2).double()
    log_weights = torch.randn(2, 3).double().log_softmax(1)
    out = head(Reading(vectors, [], log_weights), query)
    single = [head(Reading(vectors[:, p : p + 1], []), query).softmax(1) for p in range(3)]
    expected = sum(log_weights[:, p : p + 1].exp() * single[p] for p in range(3))
    torch.testing.assert_close(out.exp(), expected)


def test_a_hidden_head_is_a_perceptron_with_a_norm():
    torch.manual_seed(0)
    head = MAKERS["HiddenHead"](4).eval()
    x, query = torch.randn(6, 4), torch.eye(2).repeat(3, 1)
    hidden = (head.hidden(x) / (1 + 1e-5) ** 0.5).relu()
    expected = F.linear(torch.cat([hidden, query], 1), head.classify.weight, head.classify.bias)
    torch.testing.assert_close(head(Reading(x.unsqueeze(1), []), query), expected)


def test_the_option_of_the_mechanism_decides_the_heads():
    assert isinstance(make_heads(get_mechanism("ltpa-dp"), (4, 4, 4), MAKERS["LinearHead"]), LinearHead)
    heads = make_heads(get_mechanism("ltpa-dp:head=indep"), (4, 6, 6), MAKERS["LinearHead"])
    assert isinstance(heads, IndependentHeads)
    assert [head.classify.in_features for head in heads.heads] == [6, 8, 8]
    assert get_mechanism("ltpa-dp:head=indep:levels=1").head == "concat"
