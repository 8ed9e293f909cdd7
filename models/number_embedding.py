"""Where the embeddings of number tokens start."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import require
from .decoder import draw

NUMBER_EMBEDDINGS = ("independent", "structured")


@torch.no_grad()
def structured_start(
    weight: Tensor,
    token_ids: Tensor,
    triad_index: Tensor,
    magnitude_index: Tensor,
    *,
    std: float,
    generator: torch.Generator,
) -> None:
    r"""Let tokens that share their digits or their magnitude begin alike, in place.

    .. math::
        E_{(t, m)} = a_t + b_m, \qquad a_t, b_m \sim \mathrm{Normal}(0, \mathrm{std} / \sqrt 2)

    A row keeps the standard deviation ``std`` of an independent start; two that share the digits or the magnitude
    correlate by 1/2. Only the start: the rows are free from the first step on, and nothing is added to the model. A
    triad that training text has seldom with one magnitude so starts from what it has in common with the others.

    Args:
        weight: (V, d) embedding, that of a tied head too.
        token_ids: (n,) tokens that stand for a triad with a magnitude, or bare.
        triad_index: (n,) which digits, from 0.
        magnitude_index: (n,) which magnitude, 0 for bare triads.
        std: standard deviation of the rows.
        generator: of the draws, on the CPU.

    Raises:
        ArgumentError: there are no such tokens, or the three do not have one length.
    """
    require(token_ids.numel() > 0, "number_embedding", "independent for a tokenizer without triads", "structured")
    sizes = {tuple(index.shape) for index in (token_ids, triad_index, magnitude_index)}
    require(len(sizes) == 1, "triad_index", "one entry for each of token_ids", sorted(sizes))
    parts = []
    for index in (triad_index, magnitude_index):
        part = torch.empty(int(index.max()) + 1, weight.size(1))
        draw(part, std / math.sqrt(2.0), generator)
        parts.append(part[index])
    if not weight.is_meta:
        weight[token_ids.to(weight.device)] = (parts[0] + parts[1]).to(weight)
