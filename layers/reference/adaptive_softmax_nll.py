"""The adaptive softmax with every cluster's columns at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def adaptive_softmax_nll(
    hidden: Tensor, head: Tensor, tails: Sequence[tuple[Tensor, Tensor]], rank: Tensor, target: Tensor
) -> Tensor:
    """-log p(target): the shortlist's and the clusters' softmax, times, in cluster c, softmax(B_c A_c h): -> (N).

    Args:
        hidden: (N, d).
        head: (s + C, d): s frequent tokens, then one row for each cluster.
        tails: C pairs of A_c (d_c, d) and B_c (V_c, d_c).
        rank: (V,) the place of each token in the order of falling frequency.
        target: (N,).
    """
    short = head.size(0) - len(tails)
    log_head = torch.log_softmax(hidden @ head.T, dim=-1)
    pieces = [log_head[:, :short]]
    for c, (down, up) in enumerate(tails):
        pieces.append(log_head[:, short + c, None] + torch.log_softmax(hidden @ down.T @ up.T, dim=-1))
    return -torch.cat(pieces, dim=1)[torch.arange(len(target)), rank[target]]
