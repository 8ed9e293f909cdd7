"""Softplus attention with re-weighting, the layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ....errors import require
from ...position.position import Position
from ..attention import Attention
from ..visibility import Visibility
from .functional import softplus_attention
from .kernel import ACTIVATIONS


class SoftplusAttention(Attention):
    """LSSAR, and LSSA with ``power=None`` (arXiv:2501.13428): softplus in place of exp, then re-weighting.

    ::

        s_ij = log(dh) log(N_i) q_i.k_j / (|q_i| |k_j|)      A = softplus(s), each row divided by its sum
        B    = relu(N_i A_ij - O_i)^p, each row divided by its sum;   y = B v,  or  A v with power=None

    N_i counts the keys that row i sees, cached ones included and padding left out; O_i is 0 where N_i <= ``free_rows``,
    else 1. See :func:`lmzoo.layers.functional.softplus_attention` for the rows that this leaves open. Keys are cached
    as the position left them: N_i multiplies the query alone, so a cached key never changes. Memory is O(T).

    A power of 15 multiplies every relative error of a score by 15. So in half precision queries and keys stay in
    float32 from the position on, in the cache too, and only the rounding of their projections is left. It remains
    visible, in gradients most of all. Errors of y and dx in bfloat16, as multiples of those of plain softmax;
    medians, and in brackets the largest, of 16 draws of weights at d = 32, H = 4, T = 111 and 4 at 128, 2, 512::

        power, activation     y, d = 32    dx, d = 32    y, d = 128   dx, d = 128
        LSSA                  0.9 (1.0)     1.0 ( 1.1)   1.0 (1.0)     1.0 ( 1.0)
         3                    1.2 (1.4)     1.6 ( 3.1)   1.3 (1.4)     1.7 ( 2.4)
        15                    1.9 (2.7)     4.6 ( 8.1)   2.1 (2.2)     4.1 ( 4.4)
        15, relu              1.9 (2.6)     4.8 (11)     2.2 (8.5)     4.3 (62)
        15, exp               3.4 (4.0)    13.7 (16)     4.4 (4.8)    15.9 (18)

    At p = 15 and d = 32 this is a dx wrong by 1.7 % (30 draws: up to 3 %), with softmax by 0.5 %; under bfloat16
    autocast by 4 % (up to 9 %), with softmax by 0.6 %, and another loss gave up to 15 %. float16 has 1/8 of such
    errors, but single draws with 30 times that of softmax. :meth:`half_precision_factor` states what the contract holds
    medians to.

    The paper has no parameters beyond the projections. Three options go beyond it, all off by default:
    a learned factor on the scores, a learned power, and a power that grows while training begins.

    ``power`` may be set on a trained layer, also to or from None; :func:`set_power` does so for a whole model.

    Args:
        d_model: d, the width of x.
        n_heads: H, heads of width dh = d / H.
        n_kv_heads: G, key/value heads, each shared by H / G query heads; None is H.
        position: where tokens stand; None is ``Rotary()``. Positions that act on scores are not supported.
        power: p; 15 for long contexts, 3 was reported best at the training length, None is LSSA.
        activation: ``softplus``, or ``exp``, ``sigmoid``, ``relu`` as in the paper's ablation.
        length_scale: False leaves log(N_i) out of the scores.
        free_rows: rows that see at most so many keys are not thresholded.
        learned_scale: a positive factor per head on the scores, learned, from 1. Under Adam its logarithm moves by at
            most about the sum of the learning rates of all steps.
        learned_power: a positive power per head, learned, from ``power``. Its logarithm moves as slowly, so a short
            training at a small rate stays near the start.
        power_warmup_steps: the power grows linearly from 1 to its value over so many optimizer steps. The layer has to
            be told the step by :meth:`set_step` and keeps it in its state dict; untold, it stays at power 1.

    Raises:
        ArgumentError: as :class:`Attention`; dh is 1, a number is out of range, the activation is unknown, or there is
            no power to learn or to grow.
    """

    power_step: Tensor

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        position: Position | type[Position] | None = None,
        power: float | None = 15.0,
        activation: str = "softplus",
        length_scale: bool = True,
        free_rows: int = 3,
        learned_scale: bool = False,
        learned_power: bool = False,
        power_warmup_steps: int = 0,
    ) -> None:
        super().__init__(d_model, n_heads, n_kv_heads=n_kv_heads, position=position)
        width = "a divisor of d_model that leaves heads of width 2 or more: log(dh) = 0 would make every score 0"
        require(self.head_width >= 2, "n_heads", width, n_heads)
        require(activation in ACTIVATIONS, "activation", f"one of {', '.join(ACTIVATIONS)}", activation)
        require(free_rows >= 0, "free_rows", "0 or more", free_rows)
        require(power_warmup_steps >= 0, "power_warmup_steps", "0 or more", power_warmup_steps)
        self.activation = activation
        self.length_scale = length_scale
        self.free_rows = free_rows
        self.learned_scale = learned_scale
        self.learned_power = learned_power
        self.power_warmup_steps = power_warmup_steps
        # Logarithms: whatever the optimizer does, factor and power stay positive.
        self.log_scale = nn.Parameter(torch.zeros(n_heads)) if learned_scale else None
        self.log_power = nn.Parameter(torch.zeros(n_heads)) if learned_power else None
        if power_warmup_steps:
            self.register_buffer("power_step", torch.zeros((), dtype=torch.int64))
        self.power = power

    @property
    def power(self) -> float | None:
        """p, or None for LSSA. With a learned power: what it was last set to, by the user or at the start."""
        return self._power

    @power.setter
    def power(self, power: float | None) -> None:
        require(power is None or 0 < power < math.inf, "power", "None or a number above 0", power)
        fixed = not (self.learned_power or self.power_warmup_steps)
        require(power is not None or fixed, "power", "a number, since it is learned or grows", power)
        self._power = power
        if self.log_power is not None and power is not None:
            with torch.no_grad():
                self.log_power.fill_(math.log(power))

    def set_step(self, step: int) -> None:
        """Tell how many optimizer steps were taken, for ``power_warmup_steps``; before each training step."""
        require(step >= 0, "step", "0 or more", step)
        if self.power_warmup_steps:
            self.power_step.fill_(step)

    def current_power(self) -> float | Tensor | None:
        """The power that the next call takes: p, (H,) where it is learned or grows, or None for LSSA."""
        if self._power is None or not (self.learned_power or self.power_warmup_steps):
            return self._power
        like = self.qkv.weight
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        if self.log_power is None:
            power = torch.full((self.n_heads,), self._power, dtype=dtype, device=like.device)
        else:
            power = self.log_power.to(dtype).exp()
        if self.power_warmup_steps:
            power = 1.0 + (power - 1.0) * (self.power_step.to(dtype) / self.power_warmup_steps).clamp(max=1.0)
        return power

    def half_precision_factor(self) -> tuple[float, float]:
        """Of y and dx: twice that of softmax for LSSA, and growing with the power, with ``exp`` to twice as much.

        Where a power near 1 or a ``relu`` without power leaves the kink of relu, signs of small numbers decide dx.
        """
        if self._power is None:
            return 2.0, 20.0 if self.activation == "relu" else 2.0
        worse = 2.0 if self.activation == "exp" else 1.0
        kinked = self._power < 2.0 or self.power_warmup_steps > 0
        of_dx = 20.0 if kinked else max(5.0, self._power / 1.5)
        return worse * max(2.0, 1.5 + self._power / 10.0), worse * of_dx

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Place queries and keys in float32, float64 for float64, whatever their type is."""
        dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
        return super().transform(query.to(dtype), key.to(dtype), start)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """B v over the visible keys."""
        return softplus_attention(
            query,
            key,
            value,
            power=self.current_power(),
            activation=self.activation,
            length_scale=self.length_scale,
            free_rows=self.free_rows,
            key_mask=visibility.key_mask,
            score_factor=None if self.log_scale is None else self.log_scale.to(torch.float64).exp(),
        )


def set_power(model: nn.Module, power: float | None) -> None:
    """Set ``power`` on every :class:`SoftplusAttention` of a model, for evaluation apart from training.

    Raises:
        ArgumentError: the model has no such layer, or a layer cannot take the power.
    """
    layers = [module for module in model.modules() if isinstance(module, SoftplusAttention)]
    require(bool(layers), "model", "a module that holds a SoftplusAttention", type(model).__name__)
    for layer in layers:
        layer.power = power
