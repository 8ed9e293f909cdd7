"""The per-token map of complex attention: every pair of channels turns by an angle that depends on its own phase."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def phase_table(n: int, width: int, base: float, like: Tensor) -> Tensor:
    """The angles t base^(-2c/dh) of positions t = 0..n-1, (n, dh/2), less whole turns: within -pi..pi.

    Computed in float64, so that the float32 that is kept is exact to 2e-7 radians at any position. float64 where
    ``like`` is, else float32.
    """
    channel = torch.arange(0, width, 2, dtype=torch.float64, device=like.device)
    time = torch.arange(n, dtype=torch.float64, device=like.device)
    angle = time[:, None] * base ** (-channel / width)
    angle = angle - 2.0 * math.pi * (angle / (2.0 * math.pi)).round()
    return angle.to(torch.float64 if like.dtype == torch.float64 else torch.float32)


def phase_map(x: Tensor, delta: Tensor, bias: Tensor | None, angle: Tensor) -> Tensor:
    """Rescale and shift the phase of each pair (r, s) = (x_c, x_{c + dh/2}) = lambda (cos theta, sin theta).

    The pair becomes lambda (cos phi, sin phi), phi = delta theta + b + t g. It is computed as a rotation of (r, s) by
    psi = phi - theta = (delta - 1) theta + b + t g: the magnitude needs no square root, and delta = 1 with b = 0 is
    exactly the rotation by t g, which is rotary.

    The gradient is that of the equation wherever lambda^2 does not underflow (float32: lambda above 1e-19); the part
    through theta fades to 0 below. At the origin, where theta has no derivative, theta counts as the constant 0, so
    that the gradient there is the one of the rotation. Across r < 0, s = 0 the map jumps by 2 lambda |sin(pi delta)|
    when delta is no integer; the gradient is that of either side.

    Args:
        x: (B, H, T, dh), any floating type.
        delta: (H, dh/2).
        bias: b, (H, dh/2), or None for 0.
        angle: t g, (T, dh/2), float64 or float32: the type in which all is computed.

    Returns:
        (B, H, T, dh) in the type of x, rounded once.

    Not supported: second derivatives.
    """
    delta = delta.to(angle.dtype)
    turn = angle if bias is None else angle + bias.to(angle.dtype)[:, None]
    if torch.compiler.is_compiling():
        return _plain(x, delta, turn)
    mapped: Tensor = _PhaseMap.apply(x, delta, turn)  # type: ignore[no-untyped-call]
    return mapped


def _plain(x: Tensor, delta: Tensor, turn: Tensor) -> Tensor:
    """For the compiler, which fuses it all and derives the gradient itself."""
    r, s = x.to(turn.dtype).chunk(2, dim=-1)
    lost = r * r + s * s < torch.finfo(turn.dtype).tiny
    psi = turn + (delta - 1.0)[:, None] * torch.atan2(s, r.masked_fill(lost, 1.0))
    cos, sin = psi.cos(), psi.sin()
    return torch.cat([r * cos - s * sin, s * cos + r * sin], dim=-1).to(x.dtype)


class _PhaseMap(torch.autograd.Function):
    """The map without needless intermediates, its gradient in closed form.

    (a, b) is the incoming gradient turned back by psi. Then dpsi = r b - s a, and psi depends on r and s through theta:
    dr = a - (delta - 1) dpsi s / lambda^2, ds = b + (delta - 1) dpsi r / lambda^2.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor, turn: Tensor) -> Tensor:
        r, s = x.to(turn.dtype).chunk(2, dim=-1)
        # -0 + 0 is 0, and atan2 of the origin then 0, not pi
        theta = torch.atan2(s, r + 0.0)
        psi = torch.addcmul(turn, theta, (delta - 1.0)[:, None])
        cos, sin = psi.cos(), psi.sin_()
        ctx.save_for_backward(x, delta, theta, cos, sin)
        mapped = torch.empty_like(x, dtype=turn.dtype)
        first, second = mapped.chunk(2, dim=-1)
        torch.mul(r, cos, out=first).addcmul_(s, sin, value=-1.0)
        torch.mul(s, cos, out=second).addcmul_(r, sin)
        return mapped.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, delta, theta, cos, sin = ctx.saved_tensors
        r, s = x.to(cos.dtype).chunk(2, dim=-1)
        du, dv = gradient[0].to(cos.dtype).chunk(2, dim=-1)
        dx = torch.empty_like(x, dtype=cos.dtype)
        dr, ds = dx.chunk(2, dim=-1)
        torch.mul(du, cos, out=dr).addcmul_(dv, sin)
        torch.mul(dv, cos, out=ds).addcmul_(du, sin, value=-1.0)
        dpsi = torch.mul(r, ds).addcmul_(s, dr, value=-1.0)
        ddelta = (dpsi * theta).sum(dim=(0, 2)) if ctx.needs_input_grad[1] else None
        dturn = dpsi.sum(dim=0) if ctx.needs_input_grad[2] else None
        square = torch.mul(r, r).addcmul_(s, s).clamp_(min=torch.finfo(cos.dtype).tiny)
        dtheta = dpsi.div_(square).mul_((delta - 1.0)[:, None])
        dr.addcmul_(dtheta, s, value=-1.0)
        ds.addcmul_(dtheta, r)
        return dx.to(x.dtype), ddelta, dturn
