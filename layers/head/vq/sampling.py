"""Choosing a token from a codebook head: a code first, then one of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.full_precision import full_dtype, without_autocast
from .vq_nll import log_code_mass

if TYPE_CHECKING:
    from .vq_logits_head import VQLogitsHead


def sample(head: VQLogitsHead, hidden: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Tokens from softmax(logits / temperature): (N, d) -> (N,)."""
    if head.within_code == "class_softmax" and temperature != 1.0:
        # tempering the whole distribution is not tempering its two factors
        return _draw(torch.softmax(head(hidden) / temperature, -1), generator)
    codes = head.codes
    logits = _code_logits(head, hidden) / temperature
    if head.within_code == "class_softmax":
        code = _draw(torch.softmax(logits + head._log_mass(logits.dtype), -1), generator)
        return _draw_in_class(head, hidden, code, generator)
    bias = head._bias(logits.dtype)
    tempered = None if bias is None else bias / temperature
    log_mass = log_code_mass(codes.mapping, head.codebook_size, tempered, logits.dtype)
    code = _draw(torch.softmax(logits + log_mass, -1), generator)
    u = torch.rand(code.shape, dtype=torch.float64, device=code.device, generator=generator)
    first, last = codes.offsets[code].long(), codes.offsets[code + 1].long() - 1
    if tempered is None:
        place = first + (u * (last + 1 - first)).long()
    else:
        # each code's tokens have mass 1, so that one running sum serves all codes
        within = torch.exp(tempered.double() - log_mass.double()[codes.mapping])[codes.order].cumsum(0)
        before = torch.where(first > 0, within[(first - 1).clamp(min=0)], 0.0)
        place = torch.searchsorted(within, before + u * (within[last] - before), right=True)
    return codes.order[torch.minimum(torch.maximum(place, first), last)].long()


def greedy(head: VQLogitsHead, hidden: Tensor) -> Tensor:
    """The likeliest token, the most frequent one in training among equals: (N, d) -> (N,)."""
    codes = head.codes
    if head.within_code == "class_softmax":
        return _most_frequent(head(hidden), codes.counts)
    mapping = codes.mapping.long()
    logits = _code_logits(head, hidden)
    bias = head._bias(logits.dtype)
    if bias is None:
        # a code's tokens stand in ``order`` with the most frequent first; an empty code takes no part
        filled = codes.sizes() > 0
        leader = codes.order[codes.offsets[:-1].clamp(max=head.vocab_size - 1)].long()
        best = logits.masked_fill(~filled, -torch.inf)
    else:
        largest = bias.new_full((head.codebook_size,), -torch.inf).scatter_reduce(0, mapping, bias, "amax")
        ranked = torch.where(bias == largest[mapping], codes.counts.long(), -1)
        most = torch.full_like(codes.mass, -1).scatter_reduce(0, mapping, ranked, "amax")
        chosen = ranked == most[mapping]
        tokens = torch.arange(head.vocab_size, device=bias.device)
        last = torch.full_like(codes.mass, head.vocab_size - 1)
        leader = last.scatter_reduce(0, mapping[chosen], tokens[chosen], "amin")
        best = logits + largest
    # token ids decide last, so the codes are looked at in the order of their leaders' ids
    by_id = torch.argsort(leader, stable=True)
    chosen_code = by_id[_most_frequent(best[..., by_id], codes.counts[leader[by_id]])]
    return leader[chosen_code]


def _code_logits(head: VQLogitsHead, hidden: Tensor) -> Tensor:
    dtype = full_dtype(hidden)
    with without_autocast(hidden):
        return F.linear(hidden.to(dtype), head.codebook.to(dtype))


def _most_frequent(logits: Tensor, counts: Tensor) -> Tensor:
    tied = logits == logits.amax(-1, keepdim=True)
    return torch.where(tied, counts, -1).argmax(-1)


def _draw(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    if probabilities.size(0) == 0:
        return torch.zeros(0, dtype=torch.int64, device=probabilities.device)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def _draw_in_class(head: VQLogitsHead, hidden: Tensor, code: Tensor, generator: torch.Generator | None) -> Tensor:
    codes, rows = head.codes, head._rows()
    query = head._query(hidden.to(full_dtype(hidden)))
    token = torch.empty_like(code)
    for k in code.unique().tolist():
        members = codes.order[int(codes.offsets[k]) : int(codes.offsets[k + 1])].long()
        here = code == k
        with without_autocast(hidden):
            logits = F.linear(query[here], rows[members].to(query.dtype))
        token[here] = members[_draw(torch.softmax(logits, -1), generator)]
    return token
