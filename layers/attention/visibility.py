"""Which keys each query row may see, and how many: the one place that knows of causality, padding and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ...errors import require


@dataclass(frozen=True)
class KeySelection:
    """The numbers of keys that take part in a row of selective attention, three kinds that do not overlap.

    Attributes:
        keys: k, chosen by votes.
        recent: the newest keys, the row's own first, which always take part.
        sinks: the first real keys of the sequence, which always take part.

    Raises:
        ArgumentError: ``keys`` or ``recent`` is below 1, or ``sinks`` below 0.
    """

    keys: int
    recent: int = 1
    sinks: int = 0

    def __post_init__(self) -> None:
        require(self.keys >= 1, "keys", "an integer of at least 1", self.keys)
        require(self.recent >= 1, "recent", "an integer of at least 1: a row sees itself", self.recent)
        require(self.sinks >= 0, "sinks", "an integer of at least 0", self.sinks)

    @property
    def total(self) -> int:
        """The most keys that take part in a row."""
        return self.keys + self.recent + self.sinks


class Visibility:
    """Causal visibility of ``n_keys`` keys for the ``n_queries`` rows that stand at their end.

    Row r (absolute index i = n_keys - n_queries + r) sees key j when j <= i and key j is a real token. A padded row
    sees itself besides, so that no row is empty and no normaliser is 0. With a window W, row i sees the keys
    i - W < j <= i of these alone.

    Args:
        n_queries: Tq, the rows that are computed now.
        n_keys: Tk >= Tq, cached keys included.
        key_mask: (B, Tk) bool, true = real token, or None when every token is real.
        device: where masks and counts are made.
        window: W, or None for all earlier keys. Padding within the window counts as a place in it.
        selection: a choice among the visible keys that softmax layers make by their scores; it changes neither
            :meth:`mask` nor :meth:`counts`.
        batch: B of the queries, for a mask that comes from outside; None: whoever made the mask made it fit.

    Raises:
        ArgumentError: ``attention_mask`` is not boolean, is not Tk long or has not B rows; ``window`` is below 1.
    """

    def __init__(
        self,
        n_queries: int,
        n_keys: int,
        key_mask: Tensor | None,
        device: torch.device,
        *,
        window: int | None = None,
        selection: KeySelection | None = None,
        batch: int | None = None,
    ) -> None:
        if key_mask is not None:
            # Tensors in the message would be printed in full, so shapes and dtypes stand for them.
            require(key_mask.dtype == torch.bool, "attention_mask", "a bool tensor, true = real token", key_mask.dtype)
            require(
                key_mask.dim() == 2 and key_mask.size(1) == n_keys and batch in (None, key_mask.size(0)),
                "attention_mask",
                f"shape ({'B' if batch is None else batch}, {n_keys}): all keys, cached ones included",
                tuple(key_mask.shape),
            )
        require(window is None or window >= 1, "window", "None or an integer of at least 1", window)
        self.n_queries = n_queries
        self.n_keys = n_keys
        self.key_mask = key_mask
        self.device = device
        # A window that hides nothing is none, so that fused kernels know the mask.
        self.window = None if window is None or window >= n_keys else window
        self.selection = selection

    @property
    def start(self) -> int:
        """Absolute index of the first query row: the number of keys before it."""
        return self.n_keys - self.n_queries

    @property
    def is_full(self) -> bool:
        """Every row sees every key: one row without padding, the step of a decoding loop."""
        return self.key_mask is None and self.window is None and self.n_queries == 1

    @property
    def is_square_causal(self) -> bool:
        """The plain lower triangle, which fused kernels know without a mask."""
        return self.key_mask is None and self.window is None and self.n_queries == self.n_keys

    def limited(self, *, window: int | None = None, selection: KeySelection | None = None) -> Self:
        """The same rows and keys with a window or a selection."""
        return type(self)(self.n_queries, self.n_keys, self.key_mask, self.device, window=window, selection=selection)

    def strip(self, first_row: int, end_row: int) -> tuple[slice, Self]:
        """The keys that rows ``first_row`` to ``end_row`` may see, as one slice, and the visibility among these."""
        end = self.start + end_row
        first = 0 if self.window is None else max(0, self.start + first_row - self.window + 1)
        real = None if self.key_mask is None else self.key_mask[:, first:end]
        return slice(first, end), type(self)(
            end_row - first_row, end - first, real, self.device, window=self.window, selection=self.selection
        )

    def mask(self) -> Tensor:
        """Visible pairs as a bool tensor (B or 1, 1, Tq, Tk)."""
        rows = torch.arange(self.start, self.n_keys, device=self.device)[:, None]
        columns = torch.arange(self.n_keys, device=self.device)
        near = columns <= rows
        if self.window is not None:
            near &= columns > rows - self.window
        if self.key_mask is None:
            return near[None, None]
        return (near & self.key_mask[:, None, :] | (columns == rows))[:, None]

    def counts(self) -> Tensor:
        """N_i, the number of keys that each row sees, itself included: int64 (B or 1, Tq)."""
        if self.key_mask is None:
            counts = torch.arange(self.start + 1, self.n_keys + 1, device=self.device)[None]
            return counts if self.window is None else counts.clamp(max=self.window)
        real = self.key_mask.cumsum(dim=1)
        if self.window is not None:
            real = torch.cat([real[:, : self.window], real[:, self.window :] - real[:, : -self.window]], dim=1)
        return (real + ~self.key_mask)[:, self.start :]


def log_counts(visibility: Visibility, like: Tensor) -> Tensor:
    """Log N_i of each query row, (B or 1, 1, Tq, 1), natural; float64 where ``like`` is, else float32."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return visibility.counts().to(dtype).log()[:, None, :, None]
