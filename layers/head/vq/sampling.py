"""Choosing tokens from the logits of codes: a code first, then one of its tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.full_precision import without_autocast
from .token_codes import TokenCodes
from .vq_nll import log_code_mass


def draw(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """One column drawn for each row: (N, n) -> (N,) int64."""
    if probabilities.size(0) == 0:
        return torch.zeros(0, dtype=torch.int64, device=probabilities.device)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def draw_by_code(
    logits: Tensor, token_bias: Tensor | None, codes: TokenCodes, generator: torch.Generator | None
) -> Tensor:
    """Tokens v drawn from softmax(l_M(v) + beta_v): logits of codes (N, K), beta (V,) or None for 0 -> (N,) int64."""
    log_mass = log_code_mass(codes.mapping, codes.codebook_size, token_bias, logits.dtype)
    code = draw(torch.softmax(logits + log_mass, -1), generator)
    u = torch.rand(code.shape, dtype=torch.float64, device=code.device, generator=generator)
    first, last = codes.offsets[code].long(), codes.offsets[code + 1].long() - 1
    if token_bias is None:
        place = first + (u * (last + 1 - first)).long()
    else:
        # each code's tokens have mass 1, so that one running sum serves all codes
        within = torch.exp(token_bias.double() - log_mass.double()[codes.mapping])[codes.order].cumsum(0)
        before = torch.where(first > 0, within[(first - 1).clamp(min=0)], 0.0)
        place = torch.searchsorted(within, before + u * (within[last] - before), right=True)
    return codes.order[torch.minimum(torch.maximum(place, first), last)].long()


def draw_in_class(
    query: Tensor, rows: Tensor, code: Tensor, codes: TokenCodes, generator: torch.Generator | None
) -> Tensor:
    """Tokens v of given codes (N,), drawn from softmax(q . r_v) over the code: (N, d), (V, d) -> (N,) int64."""
    token = torch.empty_like(code)
    for k in code.unique().tolist():
        members = codes.order[int(codes.offsets[k]) : int(codes.offsets[k + 1])].long()
        here = code == k
        with without_autocast(query):
            logits = F.linear(query[here], rows[members].to(query.dtype))
        token[here] = members[draw(torch.softmax(logits, -1), generator)]
    return token


def likeliest(logits: Tensor, token_bias: Tensor | None, codes: TokenCodes) -> Tensor:
    """The token of the largest l_M(v) + beta_v, the most frequent one in training among equals: (N, K) -> (N,) int64.

    Among equally frequent ones the lowest id decides.
    """
    mapping = codes.mapping.long()
    if token_bias is None:
        # a code's tokens stand in ``order`` with the most frequent first; an empty code takes no part
        filled = codes.sizes() > 0
        leader = codes.order[codes.offsets[:-1].clamp(max=codes.vocab_size - 1)].long()
        best = logits.masked_fill(~filled, -torch.inf)
    else:
        largest = token_bias.new_full((codes.codebook_size,), -torch.inf).scatter_reduce(0, mapping, token_bias, "amax")
        ranked = torch.where(token_bias == largest[mapping], codes.counts.long(), -1)
        most = torch.full_like(codes.mass, -1).scatter_reduce(0, mapping, ranked, "amax")
        chosen = ranked == most[mapping]
        tokens = torch.arange(codes.vocab_size, device=token_bias.device)
        last = torch.full_like(codes.mass, codes.vocab_size - 1)
        leader = last.scatter_reduce(0, mapping[chosen], tokens[chosen], "amin")
        best = logits + largest
    # token ids decide last, so the codes are looked at in the order of their leaders' ids
    by_id = torch.argsort(leader, stable=True)
    return leader[by_id[most_frequent(best[..., by_id], codes.counts[leader[by_id]])]]


def most_frequent(logits: Tensor, counts: Tensor) -> Tensor:
    """Among the columns of the largest logit the first with the highest count: (N, n), (n,) -> (N,) int64."""
    tied = logits == logits.amax(-1, keepdim=True)
    return torch.where(tied, counts, -1).argmax(-1)
