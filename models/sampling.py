"""Sampling from the model's own distribution without a column for each token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import require
from ..layers import Head, KeyCache
from ..layers.common.part import defines
from .decoder import Decoder


@torch.no_grad()
def sample_tokens(
    decoder: Decoder,
    input_ids: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    eos_token_id: int | Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue ``input_ids`` (1, T) by tokens that the head draws itself: (1, T + at most ``max_new_tokens``).

    For a head that defines :meth:`lmzoo.layers.Head.sample`, such as a codebook head, which draws a code and
    then one of its tokens: exactly softmax(logits / temperature), with no restriction to the likeliest tokens. Stops
    after ``eos_token_id``, or after any of several.

    Raises:
        ArgumentError: the head cannot sample, or there is not one row of at least one token.
    """
    head = decoder.head
    require(defines(head, Head.sample), "decoder", "a head with a method sample", type(head).__name__)
    fits = input_ids.dim() == 2 and input_ids.size(0) == 1 and input_ids.size(1) >= 1
    require(fits, "input_ids", "shape (1, T) with T of at least 1", tuple(input_ids.shape))
    require(max_new_tokens >= 1, "max_new_tokens", "1 or more", max_new_tokens)
    ends = () if eos_token_id is None else (eos_token_id,) if isinstance(eos_token_id, int) else tuple(eos_token_id)
    cache = KeyCache()
    rows, new = input_ids, input_ids
    for _ in range(max_new_tokens):
        hidden = decoder.hidden(new, None, cache)[:, -1]
        new = head.sample(hidden, temperature=temperature, generator=generator)[:, None]
        rows = torch.cat([rows, new], 1)
        if int(new) in ends:
            break
    return rows
