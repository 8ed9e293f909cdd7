"""Rotary positions: queries and keys turn with their index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import require
from .growing_table import GrowingTable
from .position import Position
from .rotary_extension import Extension, rotary_frequencies


def rotary_table(n: int, frequency: Tensor, like: Tensor, *, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """Cos and sin (n, dh/2) of the angles t g_c, t = 0..n-1, times ``factor``, on the device of ``like``; g (dh/2).

    Angles are computed in float64, because float32 loses a radian's third decimal beyond position 10,000. The result is
    float64 where ``like`` is, else float32.
    """
    time = torch.arange(n, dtype=torch.float64, device=like.device)
    angle = time[:, None] * frequency.to(like.device)
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return (factor * angle.cos()).to(dtype), (factor * angle.sin()).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_c, x_{c + dh/2}) of x (..., T, dh) by its angle; cos, sin (T, dh/2), float32 or float64.

    (a, b) -> (a cos - b sin, b cos + a sin), computed in the type of ``cos`` and rounded once to that of x.
    """
    if x.dtype == cos.dtype and not torch.compiler.is_compiling():
        turned: Tensor = _Rotation.apply(x, cos, sin)  # type: ignore[no-untyped-call]
        return turned
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


def rotary(x: Tensor, *, base: float = 10000.0, start: int = 0) -> Tensor:
    """Turn x (..., T, dh) by the angles t base^(-2c/dh), t = ``start``, ``start`` + 1, ...; dh even."""
    require(x.size(-1) % 2 == 0, "x", "an even last dimension", tuple(x.shape))
    cos, sin = rotary_table(start + x.size(-2), rotary_frequencies(x.size(-1), base)[0], x)
    return rotate(x, cos[start:], sin[start:])


class _Rotation(torch.autograd.Function):
    """The rotation without intermediates: its gradient is the rotation by the opposite angle, times the same factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate(gradient[0], cos, -sin), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    turned = torch.empty_like(x)
    a, b = x.chunk(2, dim=-1)
    first, second = turned.chunk(2, dim=-1)
    torch.mul(a, cos, out=first).addcmul_(b, sin, value=-1.0)
    torch.mul(b, cos, out=second).addcmul_(a, sin)
    return turned


class Rotary(Position):
    """Rotary position embedding (RoPE, arXiv:2104.09864), half-split pairing.

    Channel c of a head and channel c + dh/2 form a pair that is turned by t g_c, g_c = base^(-2c/dh), c = 0..dh/2 - 1.
    The score of a query and a key then depends on their distance alone. Defined at any length; no parameters.

    A rule for longer contexts changes the frequencies, in training and evaluation alike; a model trained without one
    takes it afterwards by :meth:`extend`. The rules and their equations are in
    :func:`lmzoo.layers.position.rotary_extension.rotary_frequencies`.

    Args:
        base: the slowest pair turns once in about 2 pi base tokens.
        extension: None, ``linear``, ``ntk``, ``yarn`` or ``truncated``.
        factor: how many times the training length is wanted; 1 without an extension.
        train_length: tokens of a training context, which ``yarn`` and ``truncated`` need.

    Raises:
        ArgumentError: ``base`` is not above 0, the head width is odd, or the extension's arguments do not fit.
    """

    acts_on = "query_key"

    def __init__(
        self,
        base: float = 10000.0,
        *,
        extension: Extension | None = None,
        factor: float = 1.0,
        train_length: int | None = None,
    ) -> None:
        super().__init__()
        require(base > 0, "base", "a number above 0", base)
        self.base = base
        self.extend(extension, factor=factor, train_length=train_length)

    def extend(self, extension: Extension | None, *, factor: float = 1.0, train_length: int | None = None) -> None:
        """Change the rule, from the next call on; keys that are cached already keep theirs. None takes it back."""
        rotary_frequencies(2, self.base, extension, factor=factor, train_length=train_length)  # checks the arguments
        self.extension = extension
        self.factor = factor
        self.train_length = train_length
        self._table = GrowingTable(self._angles)

    def configure(self, d_model: int, n_heads: int) -> None:
        """Check the head width."""
        width = d_model // n_heads
        require(width % 2 == 0, "d_model", f"an even head width d_model / n_heads for {type(self).__name__}", width)

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Turn queries and keys, row r by the angles of index ``start + r``."""
        cos, sin = self._table.rows(start, start + query.size(2), query)
        return rotate(query, cos, sin), rotate(key, cos, sin)

    def _angles(self, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        frequency, factor = rotary_frequencies(
            like.size(-1), self.base, self.extension, factor=self.factor, train_length=self.train_length
        )
        return rotary_table(n, frequency, like, factor=factor)


def extend_rotary(
    model: nn.Module, extension: Extension | None, *, factor: float = 1.0, train_length: int | None = None
) -> int:
    """Call :meth:`Rotary.extend` on every rotary position of a model; how many there are.

    The model's own description of its parts still tells how it was built and trained.

    Raises:
        ArgumentError: the model has no rotary position, or the rule's arguments do not fit.
    """
    found = [module for module in model.modules() if isinstance(module, Rotary)]
    require(bool(found), "model", "a model with Rotary positions", type(model).__name__)
    for module in found:
        module.extend(extension, factor=factor, train_length=train_length)
    return len(found)
