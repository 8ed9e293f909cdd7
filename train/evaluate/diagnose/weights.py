"""How attention layers spread their weights over the keys: measured on text, on some rows of every window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ....errors import ConfigError
from ....layers import Attention, SoftplusAttention
from ....layers.attention.attention_weights import attention_weights
from ....layers.attention.visibility import Visibility
from ....layers.functional import softplus_attention
from ....models import Decoder

# A row whose weights sum to 1 within this is a distribution. float32 sums of thousands of weights err by far less.
_SUM_TOLERANCE = 1e-3
# What W v and the layer's own output may differ by, relative to the output's size.
_OUTPUT_TOLERANCE = 1e-3

Watch = Callable[[Tensor, Tensor, Tensor, Visibility, Tensor], None]


@dataclass(frozen=True)
class Reading:
    """The weights of one layer in windows of one length; (H, R) float64 means over the windows, of R rows.

    Attributes:
        layer: index of the block, from 0.
        kind: name of the layer's class.
        length: N, tokens of a window.
        rows: the rows that were read, from 1: row i sees i keys.
        total: sum of the weights of a row.
        smallest_total: over windows, heads and rows.
        largest_total: over windows, heads and rows.
        entropy: -sum_j w_ij log w_ij in nats; None where the weights of some row do not sum to 1.
        surviving: share of the visible keys above the threshold; None for a layer without one.
    """

    layer: int
    kind: str
    length: int
    rows: list[int]
    total: Tensor
    smallest_total: float
    largest_total: float
    entropy: Tensor | None
    surviving: Tensor | None


def sampled_rows(length: int, most: int) -> list[int]:
    """Rows 1..length, or the middles of ``most`` equal parts of them, so that a plain mean stands for all rows."""
    n = min(length, most)
    return [int((k + 0.5) * length / n) + 1 for k in range(n)]


@torch.no_grad()
def read_weights(network: Decoder, input_ids: Tensor, most_rows: int) -> list[Reading]:
    """Read every attention layer of ``network`` on windows (W, N) of token ids.

    The forward pass is the ordinary one; while it runs, each layer's queries and keys are taken as they are, and the
    weights of the sampled rows are computed one row at a time with :func:`attention_weights`.

    Raises:
        ConfigError: the model has no attention layer of this package's kind, or one whose weights cannot be read.
    """
    length = input_ids.size(1)
    rows = sampled_rows(length, most_rows)
    layers: list[tuple[int, Attention]] = [
        (i, layer) for i, block in enumerate(network.blocks) if isinstance(layer := block.attention, Attention)
    ]
    if not layers:
        raise ConfigError("the model holds no attention layer, so there are no weights to look at", key="run")
    tallies = [_Tally(i, layer, rows) for i, layer in layers]
    with ExitStack() as stack:
        for (_, layer), tally in zip(layers, tallies, strict=True):
            stack.enter_context(_watched(layer, tally.add))
        for window in input_ids:
            network.hidden(window[None])
    return [tally.reading(length, len(input_ids)) for tally in tallies]


@contextmanager
def _watched(layer: Attention, watch: Watch) -> Iterator[None]:
    """Show the layer's queries, keys, values and output to ``watch`` at each call of ``attend``."""
    attend = layer.attend

    def attend_and_show(query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        y = attend(query, key, value, visibility)
        watch(query, key, value, visibility, y)
        return y

    vars(layer)["attend"] = attend_and_show
    try:
        yield
    finally:
        del vars(layer)["attend"]


class _Tally:
    """Sums over windows of one layer's figures, in float64."""

    def __init__(self, index: int, layer: Attention, rows: list[int]) -> None:
        self.index, self.layer, self.rows = index, layer, rows
        self.attend = layer.attend
        self.total, self.entropy, self.surviving = (
            torch.zeros(layer.n_heads, len(rows), dtype=torch.float64) for _ in range(3)
        )
        self.smallest, self.largest = torch.inf, -torch.inf
        self.distribution = True
        self.windows = 0

    def add(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, y: Tensor) -> None:
        """One window, (1, H, N, dh)."""
        self.windows += 1
        for k, i in enumerate(self.rows):
            q, keys = query[:, :, i - 1 : i], key[:, :, :i]
            w = attention_weights(self.attend, q, keys, Visibility(1, i, None, q.device)).double()
            self._check(w, value[:, :, :i], y[:, :, i - 1 : i], i)
            total = w.sum(dim=-1)[0, :, 0]
            self.total[:, k] += total.cpu()
            self.smallest = min(self.smallest, float(total.min()))
            self.largest = max(self.largest, float(total.max()))
            self.distribution &= bool(((total - 1.0).abs() <= _SUM_TOLERANCE).all()) and bool((w >= 0).all())
            self.entropy[:, k] -= torch.xlogy(w, w).sum(dim=-1)[0, :, 0].cpu()
            if has_threshold(self.layer):
                self.surviving[:, k] += surviving_share(self.layer, q, keys)[0].cpu()

    def reading(self, length: int, windows: int) -> Reading:
        if self.windows != windows:
            raise ConfigError(
                f"layer {self.index}, {type(self.layer).__name__}, does not work through attend(), so its weights "
                "cannot be read",
                key="run",
            )
        return Reading(
            layer=self.index,
            kind=type(self.layer).__name__,
            length=length,
            rows=self.rows,
            total=self.total / windows,
            smallest_total=self.smallest,
            largest_total=self.largest,
            entropy=self.entropy / windows if self.distribution else None,
            surviving=self.surviving / windows if has_threshold(self.layer) else None,
        )

    def _check(self, w: Tensor, value: Tensor, y: Tensor, row: int) -> None:
        """W v is the layer's output, or the weights mean nothing: not finite, or not linear in the values."""
        value = value.repeat_interleave(w.size(1) // value.size(1), dim=1).double()
        error = float((w @ value - y.double()).abs().amax())
        # the values' size too: where weights cancel, the output may be small and all rounding
        size = float(torch.maximum(y.double().abs().amax(), value.abs().amax()))
        if not error <= _OUTPUT_TOLERANCE * max(size, torch.finfo(torch.float32).tiny):
            raise ConfigError(
                f"layer {self.index}, {type(self.layer).__name__}: its output at row {row} is not the product of "
                f"weights and values (off by {error:.3g}, values up to {size:.3g}), so its weights cannot be read",
                key="run",
            )


def has_threshold(layer: Attention) -> bool:
    """Whether the layer drops keys below a threshold: softplus attention with re-weighting."""
    return isinstance(layer, SoftplusAttention) and layer.power is not None


def surviving_share(layer: Attention, query: Tensor, key: Tensor) -> Tensor:
    """Share of the keys that the last row's threshold leaves a weight: query (B, H, 1, dh), key (B, G, N, dh), (B, H).

    A key survives where N A_ij > O_i, with A the weights before the threshold (``power=None``), in float64. It is not
    read off the final weights, since a small excess to the 15th power underflows to 0. In rows that the layer leaves
    unthresholded, because their A are equal up to rounding, every key with a weight survives.
    """
    assert isinstance(layer, SoftplusAttention)
    n_keys = key.size(2)

    q, k = query.double(), key.double()
    # unit vectors as values, all at once, since this function takes values of any width
    units = torch.eye(n_keys, dtype=q.dtype, device=q.device).expand(*k.shape[:2], -1, -1)
    factor = None if layer.log_scale is None else layer.log_scale.double().exp()
    a = softplus_attention(
        q,
        k,
        units,
        power=None,
        activation=layer.activation,
        length_scale=layer.length_scale,
        free_rows=layer.free_rows,
        score_factor=factor,
    )
    excess = n_keys * a - float(n_keys > layer.free_rows)
    equal = excess.amax(dim=-1, keepdim=True) <= 128 * torch.finfo(query.dtype).eps
    survives = torch.where(equal, a > 0, excess > 0)
    return survives.double().mean(dim=-1)[:, :, 0]
