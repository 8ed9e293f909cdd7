"""Complex multi-head attention: the phase difference of queries and keys, rescaled for each head and channel."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ...errors import require
from ..position.growing_table import GrowingTable
from ..position.no_position import NoPosition
from .attention import Attention
from .phase_map import phase_map, phase_table
from .softmax_mix import softmax_mix
from .visibility import Visibility

DeltaInit = Literal["normal", "one", "zero"]
Adaptation = Literal["head_channel", "head", "layer"]


class ComplexAttention(Attention):
    """Complex multi-head attention (CMHA of ComplexFormer, arXiv:2505.10222, after EulerFormer, arXiv:2403.17729).

    In each head channel c and channel c + D, D = dh/2, are the real and imaginary part of a number
    lambda exp(i theta). Row m scores key n with::

        scale sum_c lambdaQ[m,c] lambdaK[n,c] cos(delta[h,c] (thetaQ[m,c] - thetaK[n,c]) + b[h,c] + (m - n) g_c)

    where g_c = base^(-2c/dh), and delta and b are learned. Softmax, values and output are ordinary. The score is the
    product of two per-token maps (:mod:`lmzoo.layers.attention.phase_map`), so fused kernels and an ordinary key cache
    serve: mapped keys are cached. delta = 1, b = 0 is exactly rotary softmax attention. Positions are part of the
    layer, defined at any length; it takes no ``position``. Phases are float32 whatever the type of x.

    Args:
        d_model: d.
        n_heads: H.
        n_kv_heads: G; the heads of a group share delta, because they share their keys. b is always each head's own.
        delta_init: ``normal`` draws delta from Normal(0, 1/sqrt(D)), D^(-1/2) being the standard deviation, as the
            paper's author does; ``one`` starts as rotary; ``zero`` starts without the phases of q and k. b starts at 0.
        adaptation: what delta and b belong to: ``head_channel`` delta (G, D), b (H, D), the paper's; ``head`` delta
            (G, 1), b (H, 1); ``layer`` both (1, D), one adaptation of the channels that all heads share, EulerFormer's.
        scale: factor of the scores; None is 1 / sqrt(dh). The author's code has none: 1.0.
        base: of the frequencies g_c.

    Raises:
        ArgumentError: an option is unknown, ``base`` or ``scale`` is not above 0, or the head width is odd.
    """

    default_position = NoPosition
    position_kinds = frozenset({"nothing"})
    no_weight_decay: ClassVar[tuple[str, ...]] = ("delta", "bias")

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        delta_init: DeltaInit = "normal",
        adaptation: Adaptation = "head_channel",
        scale: float | None = None,
        base: float = 10000.0,
    ) -> None:
        super().__init__(d_model, n_heads, n_kv_heads=n_kv_heads)
        width = self.head_width
        require(width % 2 == 0, "d_model", f"an even head width d_model / n_heads for {type(self).__name__}", width)
        require(delta_init in ("normal", "one", "zero"), "delta_init", "normal, one or zero", delta_init)
        known = ("head_channel", "head", "layer")
        require(adaptation in known, "adaptation", "head_channel, head or layer", adaptation)
        require(scale is None or scale > 0, "scale", "None or a number above 0", scale)
        require(base > 0, "base", "a number above 0", base)
        self.delta_init = delta_init
        self.adaptation = adaptation
        self.scale = scale
        self.base = base
        channels = 1 if adaptation == "head" else width // 2
        self.delta = nn.Parameter(torch.empty(1 if adaptation == "layer" else self.n_kv_heads, channels))
        self.bias = nn.Parameter(torch.empty(1 if adaptation == "layer" else n_heads, channels))
        self._table = GrowingTable(self._angles)
        self.initialise()

    @torch.no_grad()
    def initialise(self, std: float | None = None, generator: torch.Generator | None = None) -> None:
        """Set delta and b to their start; ``std``, that of the model's matrices, does not concern them."""
        if self.delta.is_meta:
            return
        self.bias.zero_()
        if self.delta_init == "normal":
            # On the CPU and in float32, so that every device and type starts from the same numbers.
            drawn = torch.empty(self.delta.shape, device="cpu").normal_(generator=generator)
            self.delta.copy_(drawn / math.sqrt(self.head_width // 2))
        else:
            self.delta.fill_(1.0 if self.delta_init == "one" else 0.0)

    def transform(self, query: Tensor, key: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Map queries (B, H, T, dh) and keys (B, G, T, dh) of absolute index ``start`` and on."""
        (angle,) = self._table.rows(start, start + query.size(2), query)
        half = self.head_width // 2
        delta = self.delta.expand(self.n_kv_heads, half)
        on_query = delta.repeat_interleave(self.n_heads // self.n_kv_heads, dim=0)
        mapped = phase_map(query, on_query, self.bias.expand(self.n_heads, half), angle)
        return mapped, phase_map(key, delta, None, angle)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """softmax(scale q^ k^T) v over the visible keys."""
        scale = 1.0 / math.sqrt(self.head_width) if self.scale is None else self.scale
        return softmax_mix(query, key, value, visibility, scale=scale)

    def _angles(self, n: int, like: Tensor) -> tuple[Tensor]:
        return (phase_table(n, like.size(-1), self.base, like),)


def complex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    delta: Tensor,
    bias: Tensor,
    *,
    base: float = 10000.0,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """The attention of :class:`ComplexAttention`, positions 0..Tk-1 applied inside, causal.

    Args:
        query: (B, H, Tq, dh), standing at the end of the keys.
        key: (B, G, Tk, dh), G a divisor of H.
        value: as key.
        delta: (H, dh/2), or (G, dh/2), shared by the heads of a group. With G < H the first form costs a copy of the
            keys for each head.
        bias: b, (H, dh/2).
        base: of the frequencies.
        scale: None is 1 / sqrt(dh).
        key_mask: (B, Tk) bool, true = real token; None: all are.

    Returns:
        (B, H, Tq, dh).

    Raises:
        ArgumentError: shapes do not fit.
    """
    heads, n_queries, width = query.shape[1:]
    groups, n_keys = key.shape[1:3]
    half = width // 2
    require(width % 2 == 0, "query", "an even last dimension", tuple(query.shape))
    require(heads % groups == 0, "key", f"a number of heads that divides {heads}", tuple(key.shape))
    require(n_queries <= n_keys, "query", f"at most {n_keys} rows, one a key", tuple(query.shape))
    fits = tuple(delta.shape) in {(heads, half), (groups, half)}
    require(fits, "delta", f"shape ({heads}, {half}) or ({groups}, {half})", tuple(delta.shape))
    require(tuple(bias.shape) == (heads, half), "bias", f"shape ({heads}, {half})", tuple(bias.shape))
    visibility = Visibility(n_queries, n_keys, key_mask, query.device, batch=query.size(0))
    angle = phase_table(n_keys, width, base, query)
    if delta.size(0) == groups:
        on_query = delta.repeat_interleave(heads // groups, dim=0)
    else:
        on_query = delta
        key, value = (z.repeat_interleave(heads // groups, dim=1) for z in (key, value))
    query = phase_map(query, on_query, bias, angle[visibility.start :])
    key = phase_map(key, delta, None, angle)
    return softmax_mix(query, key, value, visibility, scale=1.0 / math.sqrt(width) if scale is None else scale)
