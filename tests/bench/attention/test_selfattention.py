"""Self-attention compared with torch."""

import torch
from torch.nn import functional as F

from bench.attention.selfattention import SelfAttentionReadout
from tests.bench.attention.helpers import inputs


def test_self_attention_equals_torch_and_the_map_is_the_query_row():
    torch.manual_seed(0)
    module, (x, query) = SelfAttentionReadout(8, 4, heads=2, layers=1).double(), inputs(3, 4, channels=8)
    reading = module([x], query)
    tokens = module.norms[0](torch.cat([module.embedding(x, query).unsqueeze(1), x.flatten(2).mT], dim=1))
    attend = module.attends[0]
    q, k, v = (
        t.unflatten(2, (2, 4)).transpose(1, 2)
        for t in F.linear(tokens, attend.in_proj_weight, attend.in_proj_bias).chunk(3, dim=2)
    )
    weights = (q[:, :, :1] @ k.mT / 2).softmax(dim=-1)
    out = attend.out_proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(reading.vectors, module.embedding(x, query).unsqueeze(1) + out)
    row = weights.mean(dim=1)[:, 0, 1:]
    torch.testing.assert_close(reading.masks[0].flatten(1), row / row.sum(dim=1, keepdim=True))
