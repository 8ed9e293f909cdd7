"""The kernel of softplus attention for any device: strips of query rows against all their keys."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..strips import Strip, Strips

ACTIVATIONS = ("softplus", "exp", "sigmoid", "relu")

# Beyond this, log and exp are faster than so many passes.
_LARGEST_INTEGER = 64

_LOG2_E = 1.0 / math.log(2.0)


class Problem(NamedTuple):
    """What a kernel of softplus attention is given: scaled queries and unit keys, all of one type, float32 or float64.

    Attributes:
        query: (B, H, Tq, dh); q.k is the score s itself.
        key: (B, G, Tk, dh).
        value: (B, G, Tk, dv).
        power: (H,), or None for A instead of B.
        counts: N_i, (B or 1, Tq).
        key_mask: (B, Tk) bool or None.
        activation: one of :data:`ACTIVATIONS`.
        free_rows: as in :func:`softplus_attention`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    power: Tensor | None
    counts: Tensor
    key_mask: Tensor | None
    activation: str
    free_rows: int

    def outputs(self) -> tuple[Tensor, Tensor]:
        """Memory for y and for the statistics of its rows; see :func:`forward`."""
        shape = self.query.shape[:3]
        return self.value.new_empty(*shape, self.value.size(3)), self.query.new_empty(3, *shape)

    def strips(self, n_buffers: int) -> Strips:
        """The strips of the problem."""
        return Strips(self.query, self.key, self.value, self.counts, self.key_mask, n_buffers=n_buffers)


def forward(problem: Problem) -> tuple[Tensor, Tensor]:
    """(y, statistics): y (B, H, Tq, dv), and per row t, 1 / (max phi - t) and 1 / sum W, (3, B, H, Tq).

    W is homogeneous, so that relu(N A - 1)^p and relu((phi - t) / (max phi - t))^p, t = sum phi / N, give the same B.
    The second form stays in [0, 1]; t is called the threshold, 1 / (max phi - t) the factor. A row whose phi are equal,
    or LSSA's, has W = phi, t = 0 and factor 0.
    """
    y, statistics = problem.outputs()
    with torch.autocast(problem.query.device.type, enabled=False):
        strips = problem.strips(n_buffers=2)
        powers = None if problem.power is None else Powers(problem.power)
        rows_of_y, rows_of_statistics = strips.per_query(y), [strips.per_query(s[..., None]) for s in statistics]
        for strip in strips:
            w, other = strip.buffers
            strip.scores(other)
            _activate(other, w, problem.activation)
            total = w.sum(dim=-1, keepdim=True)
            if powers is None:
                threshold = factor = torch.zeros_like(total)
                norm = strip.fill_empty(w, total)
            else:
                threshold, factor = _threshold(strip, w, total, problem.free_rows)
                flat = (factor <= 0).squeeze(-1)
                kept = w[flat]
                _excess(w, threshold, factor)
                w = powers.raised(w, strip, 0, out=other)
                norm = w.sum(dim=-1, keepdim=True)
                if len(kept):
                    w[flat] = kept
                    norm = strip.fill_empty(w, torch.where(flat[..., None], total, norm))
            inverse = norm.reciprocal()
            strip.write(rows_of_y, strip.times_value(w).mul_(inverse))
            for rows, values in zip(rows_of_statistics, (threshold, factor, inverse)):
                strip.write(rows, values)
    return y, statistics


def gradients(
    gradient: Tensor, y: Tensor, statistics: Tensor, problem: Problem, *, on_power: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by query, key, value and power.

    With g = dL/dy, Z = sum W, x = relu(phi - t) f, f the factor, and rows that were thresholded::

        dx_j = p x_j^(p-1) (g.v_j - g.y) / Z
        dphi_j = f (dx_j - sum_k dx_k / N)       since t = sum phi / N; the sum is left out where t = 0
        ds_j = phi'(s_j) dphi_j

    Rows with W = phi: dphi_j = (g.v_j - g.y) / Z. That f itself depends on phi does not matter: B is free of it.
    """
    query, key, value = problem[:3]
    dquery = query.new_empty(query.shape)
    dkey, dvalue = (query.new_zeros(z.shape) for z in (key, value))
    dpower = query.new_zeros(query.size(1) if on_power else 0, dtype=torch.float64)
    with torch.autocast(query.device.type, enabled=False):
        strips = problem.strips(n_buffers=4 if on_power else 3)
        powers = None if problem.power is None else Powers(problem.power)
        rows_of = [strips.per_query(z) for z in (gradient, y, *(s[..., None] for s in statistics))]
        rows_of_dquery = strips.per_query(dquery)
        dkeys, dvalues = dkey.flatten(0, 1), dvalue.flatten(0, 1)
        for strip in strips:
            g, out, threshold, factor, inverse = (strip.read(rows) for rows in rows_of)
            ds, w, dw = strip.buffers[:3]
            strip.scores(ds)
            _activate_and_derive(ds, w, problem.activation)
            mean = (g * out).sum(dim=-1, keepdim=True)
            if powers is None:
                strip.fill_empty(w, w.sum(dim=-1, keepdim=True))
                strip.add_transposed_product(dvalues, w, g * inverse)
                strip.gradient_of_weights(g * inverse, out=dw).sub_(mean * inverse)
                ds.mul_(dw)
            else:
                flat = (factor <= 0).squeeze(-1)
                kept = w[flat]
                _excess(w, threshold, factor)
                x_log_x = torch.xlogy(w, w, out=strip.buffers[3]) if on_power else None
                dx = powers.raised(w, strip, -1, out=dw)
                w.mul_(dx)
                slope = powers.of(strip) * factor * inverse
                if len(kept):
                    w[flat] = kept
                    dx[flat] = torch.ones_like(kept)
                    strip.fill_empty(w, w.sum(dim=-1, keepdim=True))
                    slope = torch.where(flat[..., None], inverse, slope)
                strip.add_transposed_product(dvalues, w, g * inverse)
                dx.mul_(strip.gradient_of_weights(g * slope, out=w).sub_(mean * slope))
                if x_log_x is not None:
                    of_row = x_log_x.mul_(dx).sum(dim=-1, keepdim=True) / powers.of(strip) / factor
                    powers.accumulate(dpower, of_row.masked_fill_(flat[..., None], 0.0), strip)
                dx.sub_(dx.sum(dim=-1, keepdim=True).div_(strip.count).mul_(threshold > 0))
                ds.mul_(dx)
            strip.write(rows_of_dquery, strip.times_key(ds))
            strip.add_transposed_product(dkeys, ds, strip.query)
    return dquery, dkey, dvalue, dpower.to(query.dtype)


class Powers:
    """x^(p + offset) for x in [0, 1], 0 for x = 0; p (H,).

    On a CPU an integer power that all heads share is a few squares and cubes, over ten times faster than ``torch.pow``;
    anything else is 2^((p + offset) log2 x), since exp2 is faster than exp.
    """

    def __init__(self, power: Tensor) -> None:
        self.power = power
        distinct = set(power.tolist()) if power.device.type == "cpu" else set()
        self._shared: float | None = distinct.pop() if len(distinct) == 1 else None

    def of(self, strip: Strip) -> Tensor | float:
        """P of the strip's heads, (C, r, 1, 1), or the number that all share."""
        if self._shared is not None:
            return self._shared
        return self.power.view(-1, strip.shape[1])[strip.heads][..., None, None]

    def raised(self, x: Tensor, strip: Strip, offset: int, out: Tensor) -> Tensor:
        """x^(p + offset) in ``out``, ``offset`` 0 or -1."""
        p = self._shared
        if p is not None and p == int(p) and 1 <= p <= _LARGEST_INTEGER:
            return _integer_power(x, int(p) + offset, out)
        torch.clamp_min(x, torch.finfo(x.dtype).tiny, out=out).log2_().mul_(self.of(strip) + offset).exp2_()
        return out.masked_fill_(x == 0, 0.0)

    def accumulate(self, target: Tensor, of_row: Tensor, strip: Strip) -> None:
        """Add numbers of rows (C, r, R, 1) to their heads in ``target`` (H,)."""
        of_head = of_row.sum(dim=(2, 3), dtype=target.dtype)
        target.view(-1, strip.shape[1]).index_add_(0, strip.heads, of_head)


def _integer_power(x: Tensor, n: int, out: Tensor) -> Tensor:
    if n == 0:
        return torch.sign(x, out=out)
    if n == 1:
        return out.copy_(x)
    source = x
    for step in _steps(n):
        torch.mul(source, x, out=out) if step == 1 else torch.pow(source, step, out=out)
        source = out
    return out


@cache
def _steps(n: int) -> tuple[int, ...]:
    """The fewest passes from x to x^n: 2 squares, 3 cubes, 1 multiplies by x. x^15 takes 4, x^14 too."""
    if n == 1:
        return ()
    ways = [(*_steps(n // step), step) for step in (2, 3) if n % step == 0]
    return min([*ways, (*_steps(n - 1), 1)], key=len)


def _activate(s: Tensor, phi: Tensor, activation: str) -> None:
    """Phi of the scores; hidden scores are -inf, which every activation sends to 0."""
    if activation == "softplus":
        _softplus(s, out=phi)
    elif activation == "exp":
        # A common factor of a row cancels; without it a long context could overflow float32.
        torch.sub(s, s.amax(dim=-1, keepdim=True), out=phi).mul_(_LOG2_E).exp2_()
    elif activation == "sigmoid":
        torch.sigmoid(s, out=phi)
    else:
        torch.clamp_min(s, 0.0, out=phi)


def _activate_and_derive(s: Tensor, phi: Tensor, activation: str) -> None:
    """Phi, and its derivative in place of the scores."""
    _activate(s, phi, activation)
    if activation == "softplus":
        s.sigmoid_()
    elif activation == "exp":
        s.copy_(phi)
    elif activation == "sigmoid":
        torch.addcmul(phi, phi, phi, value=-1.0, out=s)
    else:
        s.gt_(0.0)


def _softplus(s: Tensor, out: Tensor) -> None:
    """Log(1 + exp(s)) in ``out``, which is not s itself."""
    if s.device.type != "cpu":
        # Beyond the threshold log(1 + exp(s)) is s to the last digit of the type.
        torch.ops.aten.softplus.out(s, 1.0, 40.0 if s.dtype == torch.float64 else 20.0, out=out)
        return
    # On a CPU exp takes several times as long as exp2. s beyond the clamp, where exp could overflow, is its softplus.
    torch.clamp_max(s, 60.0, out=out).mul_(_LOG2_E).exp2_().log1p_()
    torch.maximum(out, s, out=out)


def _threshold(strip: Strip, phi: Tensor, total: Tensor, free_rows: int) -> tuple[Tensor, Tensor]:
    """T = sum phi / N, 0 in free rows, and 1 / (max phi - t); both 0 in rows whose phi are equal or all 0."""
    information = torch.finfo(phi.dtype)
    threshold = total / strip.count * (strip.count > free_rows)
    largest = phi.amax(dim=-1, keepdim=True) - threshold
    # Equal weights differ by rounding, which must not be amplified.
    flat = (largest <= 128 * information.eps * threshold) | (largest <= 4 * information.tiny)
    return threshold.masked_fill(flat, 0.0), largest.reciprocal().masked_fill_(flat, 0.0)


def _excess(phi: Tensor, threshold: Tensor, factor: Tensor) -> None:
    """relu(phi - t) f in place of phi: in [0, 1], 0 in rows of factor 0."""
    phi.sub_(threshold).relu_().mul_(factor)
