"""Negative log-likelihood of a token among those of its code: a softmax over them alone, in few products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...common.full_precision import full_dtype, without_autocast

_LARGEST_BLOCK = 1 << 22
"""Numbers in one gathered block of rows, of columns or of logits: 16 MB in float32."""


def class_nll(query: Tensor, rows: Tensor, order: Tensor, offsets: Tensor, mapping: Tensor, target: Tensor) -> Tensor:
    """nll_n = logsumexp_{v in code of t}(q_n . r_v) - q_n . r_t, t = target_n, in nats; exactly 0 alone in a code.

    Rows of one code share a product, and codes with about as many rows and about as many tokens (within factors of two)
    share a batch of products, so that neither a loop over codes nor a column of another code is needed. Logits exist
    for one block at a time and are computed once more in the backward pass: memory beyond the arguments and their
    gradients is O(N d + d n + 2^22) with n the size of the largest code, time O(sum_n n_code(n) d).

    In float32, under autocast too, or in float64 where ``query`` is float64.

    Args:
        query: (N, d).
        rows: (V, d), one for each token.
        order: (V,) tokens sorted by code; this and the next two int64 or int32.
        offsets: (K + 1,) where each code begins in ``order``.
        mapping: (V,) the code of each token.
        target: (N,) int64.

    Returns:
        (N,) float32, float64 for float64 queries.
    """
    dtype = full_dtype(query)
    with without_autocast(query):
        nll: Tensor = _forward(query.to(dtype), rows, order, offsets, mapping, target)
    return nll


def class_log_softmax(logits: Tensor, mapping: Tensor, codebook_size: int) -> Tensor:
    """Log p(token | its code) of every token from logits (..., V), as plain tensor operations."""
    of_codes = logits.new_full((*logits.shape[:-1], codebook_size), -torch.inf)
    largest = of_codes.scatter_reduce(-1, mapping.long().expand(logits.shape), logits.detach(), "amax")
    shifted = logits - largest.index_select(-1, mapping)
    mass = torch.zeros_like(of_codes).index_add(logits.dim() - 1, mapping, shifted.exp())
    return shifted - mass.index_select(-1, mapping).log()


class _Block(NamedTuple):
    """G codes, each with R of the batch's rows, padded, and n tokens, padded."""

    row: Tensor
    """(G, R) indices of rows."""
    real_row: Tensor
    """(G, R) bool, false for padding."""
    token: Tensor
    """(G, n) token ids."""
    padding: Tensor
    """(G, 1, n) bool."""
    position: Tensor
    """(G, R, 1) index of each row's target among its code's tokens."""


def _blocks(order: Tensor, offsets: Tensor, mapping: Tensor, target: Tensor, width: int) -> Iterator[_Block]:
    """The rows whose code has more than one token, each in exactly one block."""
    order, offsets = order.long(), offsets.long()
    slot = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
    code, row = torch.sort(mapping[target].long(), stable=True)
    shared = offsets.diff()[code] > 1
    code, row = code[shared], row[shared]
    codes, n_rows = torch.unique_consecutive(code, return_counts=True)
    first_row, n_tokens = n_rows.cumsum(0) - n_rows, offsets.diff()[codes]
    shape = torch.stack([_log2_up(n_rows), _log2_up(n_tokens)], 1)
    for kind in torch.unique(shape, dim=0):
        members = (shape == kind).all(1).nonzero().squeeze(1)
        most_rows, most_tokens = int(n_rows[members].max()), int(n_tokens[members].max())
        # so many rows, then so many codes at a time
        height = max(1, min(most_rows, _LARGEST_BLOCK // max(most_tokens, width)))
        step = max(1, _LARGEST_BLOCK // (most_tokens * max(width, height)))
        for group in members.split(step):
            columns = torch.arange(most_tokens, device=order.device)
            padding = columns >= n_tokens[group, None]
            token = order[(offsets[codes[group], None] + columns).clamp_(max=order.numel() - 1)]
            for start in range(0, most_rows, height):
                among = torch.arange(start, min(start + height, most_rows), device=order.device)
                real_row = among < n_rows[group, None]
                index = row[torch.where(real_row, first_row[group, None] + among, first_row[group, None])]
                position = slot[target[index]] - offsets[codes[group], None]
                yield _Block(index, real_row, token, padding[:, None], position[:, :, None])


def _log2_up(n: Tensor) -> Tensor:
    return torch.ceil(torch.log2(n.double())).long()


def _log_probabilities(block: _Block, query: Tensor, columns: Tensor) -> Tensor:
    """Log p(token | its code) (G, R, n)."""
    logits = torch.bmm(query, columns.transpose(1, 2)).masked_fill_(block.padding, -torch.inf)
    return torch.log_softmax(logits, 2)


# Operators of their own, so that torch.compile need not look into sizes that depend on the data.
@torch.library.custom_op("lmzoo::class_nll", mutates_args=())
def _forward(query: Tensor, rows: Tensor, order: Tensor, offsets: Tensor, mapping: Tensor, target: Tensor) -> Tensor:
    nll = query.new_zeros(query.size(0))
    for block in _blocks(order, offsets, mapping, target, query.size(1)):
        log_p = _log_probabilities(block, query[block.row], rows[block.token].to(query.dtype))
        nll[block.row[block.real_row]] = -log_p.gather(2, block.position).squeeze(2)[block.real_row]
    return nll


@torch.library.custom_op("lmzoo::class_nll_backward", mutates_args=())
def _gradients(
    gradient: Tensor, query: Tensor, rows: Tensor, order: Tensor, offsets: Tensor, mapping: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    on_query, on_rows = torch.zeros_like(query), torch.zeros_like(rows, dtype=query.dtype)
    for block in _blocks(order, offsets, mapping, target, query.size(1)):
        of_rows, columns = query[block.row], rows[block.token].to(query.dtype)
        p = _log_probabilities(block, of_rows, columns).exp_()
        p.scatter_add_(2, block.position, p.new_full((1, 1, 1), -1.0).expand_as(block.position))
        p.mul_((gradient[block.row] * block.real_row)[:, :, None])
        # a padded row is a copy of a real one without a gradient, a padded column a copy without probability
        on_query.index_add_(0, block.row.flatten(), torch.bmm(p, columns).flatten(0, 1))
        on_rows.index_add_(0, block.token.flatten(), torch.bmm(p.transpose(1, 2), of_rows).flatten(0, 1))
    return on_query, on_rows


@_forward.register_fake
def _forward_fake(
    query: Tensor, rows: Tensor, order: Tensor, offsets: Tensor, mapping: Tensor, target: Tensor
) -> Tensor:
    return query.new_empty(query.size(0))


@_gradients.register_fake
def _gradients_fake(
    gradient: Tensor, query: Tensor, rows: Tensor, order: Tensor, offsets: Tensor, mapping: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(rows, dtype=query.dtype)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    query, rows, *table = ctx.saved_tensors
    on_query, on_rows = _gradients(gradient, query, rows, *table)
    return on_query, on_rows.to(rows.dtype), None, None, None, None


_forward.register_autograd(_backward, setup_context=_save)
