"""Causal attention cut into strips: some query rows of some heads against all the keys that they may see."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Rows of a strip: more waste the triangle above the diagonal, fewer make matrix products slow.
_ROWS = 64
# Elements of a strip, measured on a CPU: fewer pay for their launches, more leave the caches.
_ELEMENTS = {"cpu": 1 << 19, "other": 1 << 24}
# So few are always allowed; beyond, a strip is at most half of (Tk, Tk), however many heads there are.
_FEW_ELEMENTS = 1 << 17


class Strips:
    """The strips of queries (B, H, Tq, dh) against keys and values (B, G, Tk, dh), with memory to work in.

    A head of keys and the H / G heads of queries that share it are one problem, of B G in all. Every strip works in
    the same ``n_buffers`` pieces of memory, O(T) elements each.

    Args:
        query: (B, H, Tq, dh).
        key: (B, G, Tk, dh).
        value: (B, G, Tk, dv).
        count: keys that each row sees, (B or 1, Tq).
        key_mask: (B, Tk) bool, true = real token, or None.
        n_buffers: pieces of memory that a strip needs.
    """

    def __init__(
        self, query: Tensor, key: Tensor, value: Tensor, count: Tensor, key_mask: Tensor | None, *, n_buffers: int
    ) -> None:
        self.groups = key.size(1)
        self.n_queries, self.n_keys = query.size(2), key.size(2)
        self.key, self.value = key.flatten(0, 1), value.flatten(0, 1)
        self.repeats = query.size(1) // self.groups
        self.query = self.per_query(query)
        counts = count if len(count) == 1 else count.repeat_interleave(self.groups, dim=0)
        self.count = counts[:, None, :, None]
        most = _ELEMENTS.get(query.device.type, _ELEMENTS["other"])
        self.elements = min(most, max(_FEW_ELEMENTS, self.n_keys * self.n_keys // 2))
        rows = min(max(1, -(-_ROWS // self.repeats)), self.n_queries)
        self.rows = rows
        # Added to scores: -inf hides. Adding costs a fifth of filling by a bool mask.
        self.later = query.new_full((rows, rows), -torch.inf).triu_(1)
        self.padding = None
        if key_mask is not None:
            padding = query.new_zeros(key_mask.shape).masked_fill_(~key_mask, -torch.inf)
            self.padding = padding.repeat_interleave(self.groups, dim=0)[:, None, None]
        one = self.repeats * rows * self.n_keys
        size = min(max(one, self.elements), self.repeats * len(self.key) * self.n_queries * self.n_keys)
        self.memory = [query.new_empty(size) for _ in range(n_buffers)]

    def per_query(self, x: Tensor) -> Tensor:
        """(B, H, Tq, n) -> (B G, H / G, Tq, n); a view where x is contiguous."""
        return x.reshape(-1, self.repeats, self.n_queries, x.size(-1))

    def __iter__(self) -> Iterator[Strip]:
        start = self.n_keys - self.n_queries
        for first in range(0, self.n_queries, self.rows):
            rows = slice(first, min(first + self.rows, self.n_queries))
            n_keys = start + rows.stop
            problems = max(1, self.elements // (self.repeats * (rows.stop - first) * n_keys))
            for problem in range(0, len(self.key), problems):
                yield Strip(self, slice(problem, min(problem + problems, len(self.key))), rows, n_keys)


class Strip:
    """Rows ``rows`` of the problems ``problems`` against the keys 0..n_keys - 1, of which the last row sees all.

    C problems, r = H / G heads, R rows and K keys make the strip (C, r, R, K); numbers per row are (C, r, R, 1).
    """

    def __init__(self, strips: Strips, problems: slice, rows: slice, n_keys: int) -> None:
        self.problems, self.rows, self.n_keys = problems, rows, n_keys
        self.query = strips.query[problems, :, rows].flatten(1, 2)
        self.key, self.value = strips.key[problems, :n_keys], strips.value[problems, :n_keys]
        self.count = strips.count[problems if len(strips.count) > 1 else slice(None), :, rows]
        self.shape = (len(self.key), strips.repeats, rows.stop - rows.start, n_keys)
        size = self.key.size(0) * self.query.size(1) * n_keys
        self.buffers = [memory[:size].view(self.shape) for memory in strips.memory]
        self._groups = strips.groups
        self._later = strips.later[: self.shape[2], : self.shape[2]]
        self._padding = None if strips.padding is None else strips.padding[problems, :, :, :n_keys]

    @property
    def heads(self) -> Tensor:
        """The group of keys that each problem belongs to, (C,)."""
        return torch.arange(self.problems.start, self.problems.stop, device=self.key.device) % self._groups

    def scores(self, out: Tensor) -> None:
        """q.k in ``out``, -inf where the row does not see the key."""
        torch.bmm(self.query, self.key.transpose(1, 2), out=self._matrices(out))
        self._hide(out)

    def times_key(self, w: Tensor) -> Tensor:
        """Sum_j w_ij k_j, (C, r, R, dh)."""
        return self._rows(torch.bmm(self._matrices(w), self.key))

    def times_value(self, w: Tensor) -> Tensor:
        """Sum_j w_ij v_j, (C, r, R, dv)."""
        return self._rows(torch.bmm(self._matrices(w), self.value))

    def gradient_of_weights(self, gradient: Tensor, out: Tensor) -> Tensor:
        """g_i.v_j of gradients (C, r, R, dv), in ``out``."""
        torch.bmm(gradient.flatten(1, 2), self.value.transpose(1, 2), out=self._matrices(out))
        return out

    def add_transposed_product(self, target: Tensor, w: Tensor, rows: Tensor) -> None:
        """Add sum_i w_ij x_i to ``target`` (B G, Tk, n); rows x (C, r, R, n) or (C, r R, n)."""
        x = rows.flatten(1, 2) if rows.dim() == 4 else rows
        target[self.problems, : self.n_keys].baddbmm_(self._matrices(w).transpose(1, 2), x)

    def fill_empty(self, w: Tensor, total: Tensor) -> Tensor:
        """Give rows whose ``total`` is 0 the weight 1 on all keys that they see; the totals after that."""
        empty = total <= torch.finfo(w.dtype).tiny
        if bool(empty.any()):
            ones = torch.zeros_like(w)
            self._hide(ones)
            torch.where(empty, ones.exp_(), w, out=w)
            return torch.where(empty, self.count, total)
        return total

    def read(self, rows: Tensor) -> Tensor:
        """The strip's rows of what :meth:`Strips.per_query` gave."""
        return rows[self.problems, :, self.rows]

    def write(self, rows: Tensor, values: Tensor) -> None:
        """Put values (C, r, R, n) in their place."""
        rows[self.problems, :, self.rows] = values

    def _hide(self, scores: Tensor) -> None:
        """Add -inf where the row does not see the key, 0 elsewhere."""
        length = self.shape[2]
        later = self._later
        if self._padding is not None:
            scores[..., :-length].add_(self._padding[..., :-length])
            later = self._padding[..., -length:] + later
            # A padded row sees itself.
            later.diagonal(dim1=-2, dim2=-1).zero_()
        if self._padding is not None or length > 1:
            scores[..., -length:].add_(later)

    def _matrices(self, w: Tensor) -> Tensor:
        return w.view(w.size(0), -1, w.size(3))

    def _rows(self, x: Tensor) -> Tensor:
        return x.view(*self.shape[:3], -1)
