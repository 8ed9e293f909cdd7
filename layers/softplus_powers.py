"""Powers x^p of a strip, one p for all heads or one for each."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from .strips import Strip

# Beyond this, log and exp are faster than so many passes.
_LARGEST_INTEGER = 64


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
