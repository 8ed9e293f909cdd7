"""Powers x^p of a strip, one p for all heads or one for each."""

from __future__ import annotations

import torch
from torch import Tensor

from .strips import Strip

# Beyond this, log and exp are faster than repeated squaring.
_LARGEST_INTEGER = 64


class Powers:
    """x^(p + offset) for x in [0, 1], 0 for x = 0; p (H,).

    On a CPU an integer power that all heads share is repeated squaring, about ten times faster than ``torch.pow``;
    anything else is exp((p + offset) log x).
    """

    def __init__(self, power: Tensor) -> None:
        self.power = power
        distinct = set(power.tolist()) if power.device.type == "cpu" else set()
        shared = distinct.pop() if len(distinct) == 1 else 0.5
        self._integer = int(shared) if shared == int(shared) and 1 <= shared <= _LARGEST_INTEGER else None

    def of(self, strip: Strip) -> Tensor:
        """P of the strip's heads, (C, r, 1, 1)."""
        return self.power.view(-1, strip.shape[1])[strip.heads][..., None, None]

    def raised(self, x: Tensor, strip: Strip, offset: int, out: Tensor) -> Tensor:
        """x^(p + offset) in ``out``, ``offset`` 0 or -1."""
        if self._integer is not None:
            return _integer_power(x, self._integer + offset, out)
        torch.clamp_min(x, torch.finfo(x.dtype).tiny, out=out).log_().mul_(self.of(strip) + offset).exp_()
        return out.masked_fill_(x == 0, 0.0)

    def accumulate(self, target: Tensor, of_row: Tensor, strip: Strip) -> None:
        """Add numbers of rows (C, r, R, 1) to their heads in ``target`` (H,)."""
        of_head = of_row.sum(dim=(2, 3), dtype=target.dtype)
        target.view(-1, strip.shape[1]).index_add_(0, strip.heads, of_head)


def _integer_power(x: Tensor, n: int, out: Tensor) -> Tensor:
    if n == 0:
        return out.copy_(x).sign_()
    bits = f"{n:b}"
    out.copy_(x)
    for bit in bits[1:]:
        out.mul_(out) if bit == "0" else out.mul_(out).mul_(x)
    return out
