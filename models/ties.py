"""Greedy decoding where tokens have one and the same logit."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor


class BreakTies(LogitsProcessor):
    """Among tokens of equal, highest logit lets the one with the highest count win, then the lowest id.

    The other tied ones are lowered by the smallest step that floating point knows, everything else stays as it is.
    Decoding takes the first of equal logits, so without this a codebook head, whose tokens share logits, would always
    generate the token of the lowest id.

    Args:
        counts: (V,) integers, how often each token is a label in the training data.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) with a single highest entry a row."""
        tied = scores == scores.amax(-1, keepdim=True)
        counts = self.counts.to(scores.device)
        chosen = torch.where(tied, counts, -1).argmax(-1, keepdim=True)
        others = tied.scatter(-1, chosen, False)
        return torch.where(others, torch.nextafter(scores, scores.new_tensor(-torch.inf)), scores)
