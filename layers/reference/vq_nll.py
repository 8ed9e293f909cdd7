"""The codebook head's losses with all V logits at once."""

from __future__ import annotations

import torch
from torch import Tensor


def vq_nll(
    hidden: Tensor, codebook: Tensor, mapping: Tensor, target: Tensor, *, token_bias: Tensor | None = None
) -> Tensor:
    """nll_n = -log softmax_v(c_M(v) . h_n + beta_v)[target_n]: (N, d), (K, d), (V), (N) -> (N)."""
    logits = (hidden @ codebook.T)[:, mapping]
    if token_bias is not None:
        logits = logits + token_bias
    return torch.logsumexp(logits, dim=-1) - logits[torch.arange(len(target)), target]


def class_softmax_nll(
    hidden: Tensor, codebook: Tensor, mapping: Tensor, target: Tensor, *, query: Tensor, rows: Tensor
) -> Tensor:
    """-log p(code) - log p(target | code), token by token: (N, d), (K, d), (V), (N), (N, r), (V, r) -> (N).

    p(code) is proportional to n_k exp(c_k . h), p(token | code) to exp(r_token . q) over the tokens of the code.
    """
    codes = torch.arange(len(codebook))
    sizes = torch.stack([(mapping == k).sum() for k in codes])
    log_code = torch.log_softmax(hidden @ codebook.T + sizes.to(hidden.dtype).log(), dim=-1)
    nll = []
    for n, token in enumerate(target.tolist()):
        members = (mapping == mapping[token]).nonzero().squeeze(1)
        logits = rows[members] @ query[n]
        inside = torch.logsumexp(logits, dim=0) - rows[token] @ query[n]
        nll.append(inside - log_code[n, mapping[token]])
    return torch.stack(nll) if nll else hidden.sum(dim=1)
