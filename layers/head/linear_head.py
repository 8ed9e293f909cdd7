"""The ordinary output head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ArgumentError, require
from ..common.full_precision import full_dtype, under_autocast
from .head import Head, check_log_weight
from .linear_nll import linear_nll
from .resized_rows import resized_rows
from .row_forecast import RowForecast


class LinearHead(Head):
    """logits = W h + b, W (V, d); its nll never holds (N, V).

    Args:
        d_model: d, the width of the hidden states.
        vocab_size: V.
        tied: W is the input embedding, handed over by :meth:`tie` before the first use.
        bias: learn b (V), else b = 0.
        chunk_size: rows whose logits exist at one time in :meth:`nll`; None chooses by size.

    Raises:
        ArgumentError: a size is below 1; ``tie`` gets another shape; a tied head is used before ``tie``.
    """

    def __init__(
        self,
        d_model: int,
        vocab_size: int,
        *,
        tied: bool = False,
        bias: bool = False,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(d_model, vocab_size)
        require(chunk_size is None or chunk_size >= 1, "chunk_size", "None or an integer of at least 1", chunk_size)
        self.tied = tied
        self.chunk_size = chunk_size
        self.weight: nn.Parameter | None
        self.offset: nn.Parameter | None
        self.register_parameter("weight", None if tied else nn.Parameter(torch.empty(vocab_size, d_model)))
        self.register_parameter("offset", nn.Parameter(torch.zeros(vocab_size)) if bias else None)
        self.bias = bias
        self._forecast = RowForecast()
        if self.weight is not None:
            nn.init.normal_(self.weight, std=d_model**-0.5)

    def tie(self, embedding: nn.Parameter) -> None:
        """Use the input embedding (V, d) as W."""
        shape = (self.vocab_size, self.d_model)
        require(tuple(embedding.shape) == shape, "embedding", f"shape {shape}", tuple(embedding.shape))
        self.weight = embedding

    def resize(self, vocab_size: int, *, std: float | None = None) -> None:
        """Another V in place; of a tied head only b, until :meth:`tie` brings the resized embedding."""
        require(vocab_size >= 1, "vocab_size", "an integer of at least 1", vocab_size)
        self.vocab_size = vocab_size
        if self.offset is not None:
            self.offset = resized_rows(self.offset, vocab_size, std)
        if self.weight is not None:
            self.weight = None if self.tied else resized_rows(self.weight, vocab_size, std)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden (..., d), in its dtype; under autocast float32, in which b is added unrounded."""
        if not under_autocast(hidden):
            return F.linear(hidden, self._weight(), self.offset)
        logits = F.linear(hidden, self._weight())
        logits = logits.to(full_dtype(logits))
        return logits if self.offset is None else logits.add_(self.offset)

    def nll(self, hidden: Tensor, target: Tensor, *, row_weight: Tensor | None = None) -> Tensor:
        """-log softmax(W h + b)[target]: (N, d), (N) -> (N); see :class:`RowForecast`."""
        nll = linear_nll(
            hidden,
            self._weight(),
            target,
            bias=self.offset,
            chunk_size=self.chunk_size,
            uniform=self._forecast.uniform,
            row_weight=row_weight,
        )
        return nll if row_weight is not None else self._forecast.watch(nll)

    def debias(self, log_weight: Tensor) -> Head:
        """The same head with b - log w (V) as its offset, which costs nothing."""
        weight = self._weight()
        if weight.dtype not in (torch.float32, torch.float64):
            return super().debias(log_weight)  # half precision would round the shift
        check_log_weight(log_weight, self.vocab_size)
        head = LinearHead(self.d_model, self.vocab_size, tied=True, chunk_size=self.chunk_size)
        head.weight = self.weight
        shift = -log_weight.to(weight.device, torch.float64)
        offset = shift if self.offset is None else self.offset.detach().double() + shift
        head.offset = nn.Parameter(offset.to(weight.dtype), requires_grad=False)
        head.tied, head.bias = self.tied, True
        return head

    def matmul_weights(self) -> int:
        """V d."""
        return self.vocab_size * self.d_model

    def _weight(self) -> Tensor:
        if self.weight is None:
            raise ArgumentError("tied", "a call of tie(embedding) before the first use", "no embedding")
        return self.weight
