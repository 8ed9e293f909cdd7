"""Any head with a fixed shift of its logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..errors import require
from .full_precision import full_dtype
from .head import Head

_CHUNK_LOGITS = 1 << 22


class DebiasedHead(Head):
    """p(t) = q(t) / w(t) / sum_v q(v) / w(v), where q is another head's distribution: logits less log w.

    The logits of a chunk of rows exist at a time, also in training. Whatever the other head does to be fast, this
    one computes all V of them.

    Args:
        head: the head of q; its weights are shared.
        log_weight: (V), log w(t).
        chunk_size: rows whose logits exist at one time; None takes 4 million logits.

    Raises:
        ArgumentError: ``log_weight`` has another shape or is not finite.
    """

    log_weight: Tensor

    def __init__(self, head: Head, log_weight: Tensor, *, chunk_size: int | None = None) -> None:
        super().__init__(head.d_model, head.vocab_size)
        check_log_weight(log_weight, head.vocab_size)
        require(chunk_size is None or chunk_size >= 1, "chunk_size", "None or an integer of at least 1", chunk_size)
        self.head = head
        self.chunk_size = chunk_size
        weight = next(head.parameters(), log_weight)
        self.register_buffer("log_weight", log_weight.detach().to(weight.device, full_dtype(weight)))

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden (..., d), float32 or float64: half precision would round log w."""
        logits: Tensor = self.head(hidden)
        return logits.to(full_dtype(logits)) - self.log_weight.to(full_dtype(logits))

    def nll(self, hidden: Tensor, target: Tensor) -> Tensor:
        """-log p(target | hidden): (N, d), (N) -> (N)."""
        rows = self.chunk_size or max(1, _CHUNK_LOGITS // self.vocab_size)
        chunks = zip(hidden.split(rows), target.split(rows))
        return torch.cat([checkpoint(self._chunk, h, t, use_reentrant=False) for h, t in chunks])

    def matmul_weights(self) -> int:
        """Those of all logits, as the other head states them."""
        return self.head.matmul_weights()

    def _chunk(self, hidden: Tensor, target: Tensor) -> Tensor:
        shifted = self(hidden)
        nll: Tensor = torch.logsumexp(shifted, 1) - shifted.gather(1, target[:, None]).squeeze(1)
        return nll


def check_log_weight(log_weight: Tensor, vocab_size: int) -> None:
    """Raise :class:`ArgumentError` unless ``log_weight`` is finite and of shape (V)."""
    shape = tuple(log_weight.shape)
    require(shape == (vocab_size,), "log_weight", f"shape ({vocab_size},)", shape)
    require(bool(log_weight.isfinite().all()), "log_weight", "finite numbers", "others among them")
