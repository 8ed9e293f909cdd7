"""Attention whose weights are functions of one score each, with nothing to normalise: strips of rows, O(T) memory."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from .visibility import Visibility

Activation = Literal["sigmoid", "relu"]

# Scores of a strip of rows are held at once: about this many numbers, and never more rows than _MOST_ROWS.
_STRIP = 1 << 20
_MOST_ROWS = 128


def pointwise_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visibility: Visibility,
    *,
    activation: Activation,
    scale: float,
    shift: float = 0.0,
    row_weight: Tensor | None = None,
) -> Tensor:
    """y_i = w_i sum_j f(scale q_i . k_j + shift) v_j over the keys that row i sees.

    Scores exist for a strip of query rows at a time and are computed again in the backward pass. Products run in the
    type of the inputs; scores, activations and gradient sums are float32, or float64 for float64 inputs.

    Args:
        query: (B, H, Tq, dh).
        key: (B, G, Tk, dh); head h uses group h G // H.
        value: as key.
        visibility: which keys each row sees.
        activation: f.
        scale: factor of q . k.
        shift: added to the scaled score.
        row_weight: w, (B or 1, Tq), or None for 1. No gradient flows to it.

    Returns:
        (B, H, Tq, dh) in the type of the query.

    Not supported: second derivatives.
    """
    weight = query.new_ones(1, query.size(2), dtype=_wide(query)) if row_weight is None else row_weight.detach()
    mixed: Tensor = _forward(
        query, key, value, weight.to(_wide(query)), visibility.key_mask, activation, float(scale), float(shift)
    )
    return mixed


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class _Strips:
    """Scores of some query rows against all the keys they may see; heads of a group are stacked as rows."""

    def __init__(self, query: Tensor, key: Tensor, weight: Tensor, key_mask: Tensor | None) -> None:
        batch, heads, self.n_queries, self.width = query.shape
        groups, self.n_keys = key.shape[1:3]
        self.batch, self.groups, self.repeats = batch, groups, heads // groups
        self.start = self.n_keys - self.n_queries
        self.folded = batch * groups
        self.query = self.fold(query)
        self.key = key.reshape(self.folded, self.n_keys, self.width)
        self.weight = weight[:, None, None, :, None]
        self.key_mask = key_mask
        self.wide = _wide(query)
        rows = _STRIP // max(1, batch * heads * self.n_keys)
        self.rows = min(_MOST_ROWS, max(16, rows))

    def fold(self, x: Tensor) -> Tensor:
        """(B, H, Tq, dh) as (B G, H / G, Tq, dh)."""
        return x.reshape(self.folded, self.repeats, self.n_queries, x.size(-1))

    def bounds(self) -> list[tuple[int, int]]:
        """First and last + 1 row of each strip."""
        return [(a, min(a + self.rows, self.n_queries)) for a in range(0, self.n_queries, self.rows)]

    def take(self, folded: Tensor, a: int, b: int) -> Tensor:
        """Rows a to b of a folded tensor, (B G, H / G (b - a), dh)."""
        return folded[:, :, a:b].reshape(self.folded, self.repeats * (b - a), folded.size(-1))

    def activated(self, rows: Tensor, a: int, b: int, activation: str, scale: float, shift: float) -> Tensor:
        """f(score) of rows a to b, 0 where invisible: (B G, H / G (b - a), start + b), to be overwritten at will."""
        seen = self.start + b
        keys = self.key[:, :seen].transpose(1, 2)
        # alpha: float16 scores are scaled before they are rounded, so they do not overflow
        scores = torch.baddbmm(rows.new_empty(()), rows, keys, beta=0.0, alpha=scale).to(self.wide)
        if shift != 0.0:
            scores.add_(shift)
        f = scores.sigmoid_() if activation == "sigmoid" else scores.relu_()
        self.hide(f, a, b)
        return f

    def hide(self, f: Tensor, a: int, b: int) -> None:
        """Set invisible pairs of rows a to b to 0."""
        n, first = b - a, self.start + a
        tail = torch.ones(n, n, dtype=torch.bool, device=f.device)
        if self.key_mask is None:
            f.view(self.folded, self.repeats, n, -1)[..., first:].masked_fill_(tail.triu_(1), 0.0)
            return
        hidden = ~self.key_mask[:, None, : first + n].repeat(1, n, 1)
        hidden[:, :, first:] |= tail.triu(1)
        hidden[:, :, first:] &= ~torch.eye(n, dtype=torch.bool, device=f.device)
        f.view(self.batch, self.groups, self.repeats, n, -1).masked_fill_(hidden[:, None, None], 0.0)

    def weigh(self, f: Tensor, a: int, b: int) -> Tensor:
        """Multiply rows a to b by their weights, in place."""
        f.view(self.batch, self.groups, self.repeats, b - a, -1).mul_(self.weight[..., a:b, :])
        return f


@torch.library.custom_op("lmzoo::pointwise_attention", mutates_args=())
def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    key_mask: Tensor | None,
    activation: str,
    scale: float,
    shift: float,
) -> Tensor:
    strips = _Strips(query, key, weight, key_mask)
    values = value.reshape(strips.key.shape)
    y = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    into = strips.fold(y)
    for a, b in strips.bounds():
        f = strips.activated(strips.take(strips.query, a, b), a, b, activation, scale, shift)
        mixed = torch.bmm(strips.weigh(f, a, b).to(query.dtype), values[:, : f.size(-1)])
        into[:, :, a:b] = mixed.view(strips.folded, strips.repeats, b - a, -1)
    return y


@torch.library.custom_op("lmzoo::pointwise_attention_gradient", mutates_args=())
def _gradient(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    key_mask: Tensor | None,
    activation: str,
    scale: float,
    shift: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """With P = f(S), A = w P: dV = A^T g, dP = w g V^T, dS = f'(S) dP, dQ = scale dS K, dK = scale dS^T Q."""
    strips = _Strips(query, key, weight, key_mask)
    values, incoming = value.reshape(strips.key.shape), strips.fold(gradient)
    dquery = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    dkey = torch.zeros(strips.key.shape, dtype=strips.wide, device=query.device)
    dvalue = torch.zeros_like(dkey)
    into = strips.fold(dquery)
    for a, b in strips.bounds():
        rows, g = strips.take(strips.query, a, b), strips.take(incoming, a, b)
        f = strips.activated(rows, a, b, activation, scale, shift)
        seen = f.size(-1)
        df = torch.bmm(g, values[:, :seen].transpose(1, 2)).to(strips.wide)
        strips.weigh(df, a, b)
        # invisible pairs have f = 0, where both derivatives vanish
        df = df.mul_(f).addcmul_(df, f, value=-1.0) if activation == "sigmoid" else df.mul_(f > 0)
        low = df.mul_(scale).to(query.dtype)
        into[:, :, a:b] = torch.bmm(low, strips.key[:, :seen]).view(strips.folded, strips.repeats, b - a, -1)
        _accumulate(dkey[:, :seen], low, rows)
        _accumulate(dvalue[:, :seen], strips.weigh(f, a, b).to(query.dtype), g)
    return dquery, dkey.to(key.dtype).view(key.shape), dvalue.to(value.dtype).view(value.shape)


def _accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.baddbmm_(left.transpose(1, 2), right)
    else:
        total.add_(torch.bmm(left.transpose(1, 2), right))


@_forward.register_fake
def _forward_fake(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    key_mask: Tensor | None,
    activation: str,
    scale: float,
    shift: float,
) -> Tensor:
    return torch.empty(query.shape, dtype=query.dtype, device=query.device)


@_gradient.register_fake
def _gradient_fake(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    key_mask: Tensor | None,
    activation: str,
    scale: float,
    shift: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.empty(query.shape, dtype=query.dtype, device=query.device),
        torch.empty(key.shape, dtype=key.dtype, device=key.device),
        torch.empty(value.shape, dtype=value.dtype, device=value.device),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    query, key, value, weight, key_mask, ctx.activation, ctx.scale, ctx.shift = inputs
    ctx.save_for_backward(query, key, value, weight, key_mask)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    gradients: tuple[Tensor, Tensor, Tensor] = _gradient(
        gradient, *ctx.saved_tensors, ctx.activation, ctx.scale, ctx.shift
    )
    return *gradients, None, None, None, None, None


_forward.register_autograd(_backward, setup_context=_save)
