"""Softmax over the keys that the heads of a row elect."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..position.position import Position
from .visibility import KeySelection, Visibility

# Scores of a strip of query rows that are held at once, and the most rows of a strip.
_SCORES = 1 << 22
_MOST_ROWS = 128


def selective_mix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visibility: Visibility,
    selection: KeySelection,
    *,
    scale: float,
    position: Position | None = None,
) -> Tensor:
    """softmax(scale q k^T + bias) v over the keys that each row elects, in the manner of TokenSelect.

    With C_i the visible keys of row i that are neither among its ``recent`` newest nor among the ``sinks`` first::

        vote_ij = sum_h softmax_{j in C_i}(scale q_hi . k_hj + bias_hij)        per-head soft voting
        S_i     = sinks, recent keys, and the k keys of C_i with the largest votes
        y_hi    = softmax_{j in S_i}(scale q_hi . k_hj + bias_hij) v_hj          one S_i for all heads

    (arXiv:2411.02886). A row elects by its own query and its visible keys alone, so the choice is causal and the same
    in a full pass as with a cache. Where C_i has no more than k keys, nothing is left out. Differences to the paper:
    it votes once for the mean query of a chunk and reuses the choice for similar queries, which saves time; it gives
    the chosen keys new, consecutive positions, where here they keep their own. Nothing is saved here: scores exist for
    a strip of rows at a time and again in the backward pass, memory is O(T), and time that of full attention and more.

    Args:
        query: (B, H, Tq, dh).
        key: (B, G, Tk, dh); head h uses group h G // H.
        value: as key.
        visibility: which keys each row sees.
        selection: k, recent keys, sinks.
        scale: factor of the scores.
        position: its ``score_bias`` is added to the scaled scores.

    Returns:
        (B, H, Tq, dh) in the type of the query. Scores and votes are float32, float64 for float64 inputs. The choice
        has no gradient.
    """
    batch, heads, n_queries, _ = query.shape
    rows = min(_MOST_ROWS, max(1, _SCORES // (batch * heads * visibility.n_keys)))
    mixed = []
    for a in range(0, n_queries, rows):
        keys, seen = visibility.strip(a, min(a + rows, n_queries))
        strip = query[:, :, a : a + rows], key[:, :, keys], value[:, :, keys]
        inputs = *strip, seen, selection, scale, position
        if torch.is_grad_enabled():
            mixed.append(checkpoint(_mix, *inputs, use_reentrant=False, preserve_rng_state=False))
        else:
            mixed.append(_mix(*inputs))
    return torch.cat(mixed, dim=2)


def _mix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visibility: Visibility,
    selection: KeySelection,
    scale: float,
    position: Position | None,
) -> Tensor:
    batch, heads, n_queries, width = query.shape
    groups, n_keys = key.shape[1:3]
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    grouped = query.reshape(batch, groups, heads // groups * n_queries, width)
    scores = (grouped @ key.transpose(2, 3)).to(wide).view(batch, heads, n_queries, n_keys) * scale
    bias = None if position is None else position.score_bias(n_queries, n_keys, query)
    if bias is not None:
        scores = scores + bias
    visible = visibility.mask()
    elected = elect(scores.detach(), visible, visibility.start, selection)
    weights = scores.masked_fill(~elected, -torch.inf).softmax(dim=-1).to(value.dtype)
    mixed = weights.view(batch, groups, -1, n_keys) @ value
    return mixed.view(batch, heads, n_queries, width)


def elect(scores: Tensor, visible: Tensor, start: int, selection: KeySelection) -> Tensor:
    """Which keys take part, (B, 1, Tq, Tk) bool: S_i of :func:`selective_mix`.

    Args:
        scores: (B, H, Tq, Tk).
        visible: (B or 1, 1, Tq, Tk) bool.
        start: absolute index of the first row.
        selection: k, recent keys, sinks.
    """
    n_queries, n_keys = scores.shape[2:]
    rows = torch.arange(start, start + n_queries, device=scores.device)[:, None]
    columns = torch.arange(n_keys, device=scores.device)
    always = visible & ((columns > rows - selection.recent) | (visible.cumsum(dim=-1) <= selection.sinks))
    candidate = visible & ~always
    # a row without candidates has no votes: its softmax over nothing is NaN
    votes = scores.masked_fill(~candidate, -torch.inf).softmax(dim=-1).nan_to_num(0.0).sum(dim=1, keepdim=True)
    votes = votes.masked_fill(~candidate, -1.0)
    best = votes.topk(min(selection.keys, n_keys), dim=-1).indices
    chosen = torch.zeros_like(votes, dtype=torch.bool).scatter_(-1, best, True)
    return always | chosen & candidate
