"""Parameters and training FLOPs of a decoder, known before it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import require
from ..layers import Attention, Head
from .decoder import Decoder


@dataclass(frozen=True)
class Counts:
    """Parameters of a decoder, each counted once, total = embedding + head + other, and its FLOPs.

    Args:
        total: all parameters.
        embedding: what turns token ids into the first hidden state: the token table and learned positions added to it.
        head: what the output head alone holds; 0 for a tied linear head, the codebook where only rows are tied.
        tied: what the head shares with the embedding (counted there).
        other: the blocks and the final norm.
        head_table_bytes: what the head stores beside parameters, such as which code each token shares: its buffers in
            the state dict. Tables that follow from these are in memory, not in files, and do not count.
        matmul_weights: weights that multiply each training token.
        head_matmul_weights: those of them that the head states, shared ones included.
        attention_flops: for each layer, forward FLOPs a token of its score and value products, by context length.
    """

    total: int
    embedding: int
    head: int
    tied: int
    other: int
    head_table_bytes: int
    matmul_weights: int
    head_matmul_weights: int
    attention_flops: tuple[Callable[[int], float], ...]

    def training_flops_per_token(self, context_length: int, *, head: bool = True) -> float:
        """Floating-point operations of one training token, forward and backward, in a full context of T tokens.

        6 W + 3 A. W = ``matmul_weights``: those of every ``nn.Linear`` outside the head, and what the head states in
        ``matmul_weights()``, shared weights included, since they multiply too; an embedding lookup does not. A sums
        what the attention layers state in ``product_flops(T)``, averaged over causal rows. One multiply-add is two
        operations; the backward pass is twice the forward. Without ``head`` the head's weights are left out of W.

        Not counted: elementwise work, such as the phases of ``ComplexAttention``, the softplus and the re-weighting of
        ``SoftplusAttention`` or the look-up of ``T5Bias``; what an implementation does beyond the equation, such as
        scores made again in the backward pass or the 8 channels that carry the bias of ``ALiBi``; products of a user's
        part that are made without ``nn.Linear``. So equal FLOPs are not equal time.
        """
        require(context_length >= 1, "context_length", "an integer of at least 1", context_length)
        weights = self.matmul_weights - (0 if head else self.head_matmul_weights)
        return 6.0 * weights + 3.0 * sum(flops(context_length) for flops in self.attention_flops)

    def with_head(self, head: Head) -> Counts:
        """The same, with the products that the head states now: one that knows the corpus may know them better."""
        stated = head.matmul_weights()
        body = self.matmul_weights - self.head_matmul_weights
        return replace(self, matmul_weights=body + stated, head_matmul_weights=stated)

    def as_dict(self) -> dict[str, int]:
        """The parameter counts and the bytes of the head's tables, ready for JSON."""
        names = ("total", "embedding", "head", "tied", "other", "head_table_bytes")
        return {name: getattr(self, name) for name in names}


def count(vocab_size: int, **arguments: Any) -> Counts:
    """Count the decoder of these arguments on the meta device, without memory; arguments as of :class:`Decoder`."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        return count_built(Decoder(vocab_size, **arguments))


def count_built(model: Decoder) -> Counts:
    """Count a decoder that exists."""
    total = _size(model)
    embedding = _size(model.embedding) + (0 if model.position is None else _size(model.position))
    tied = sum(p.numel() for p in model.head.parameters() if p is model.embedding.weight)
    head = _size(model.head) - tied
    inside_head = set(model.head.modules())
    linears = [m for m in model.modules() if isinstance(m, nn.Linear) and m not in inside_head]
    return Counts(
        total=total,
        embedding=embedding,
        head=head,
        tied=tied,
        other=total - embedding - head,
        head_table_bytes=_table_bytes(model.head),
        matmul_weights=sum(m.weight.numel() for m in linears) + model.head.matmul_weights(),
        head_matmul_weights=model.head.matmul_weights(),
        attention_flops=tuple(m.product_flops for m in model.modules() if isinstance(m, Attention)),
    )


def _table_bytes(head: nn.Module) -> int:
    parameters = {name for name, _ in head.named_parameters(remove_duplicate=False)}
    tables = {name: t for name, t in head.state_dict().items() if name not in parameters}
    return sum(t.nbytes for t in tables.values() if isinstance(t, Tensor))  # a head's extra state may be anything


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
