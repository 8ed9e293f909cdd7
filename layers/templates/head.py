"""A linear output head with a learned temperature: a part for lmzoo to begin from.

Change forward() and nll() together, then see whether they still describe one distribution with `lmzoo check`.
"""

import torch
from lmzoo.layers import Head
from lmzoo.layers.functional import linear_nll
from torch import Tensor, nn
from torch.nn import functional as F


class MyHead(Head):
    """logits = exp(s) W h with W (V, d) and a learned number s, which starts at 0.

    Args:
        d_model: d, the width of the hidden states.
        vocab_size: V.

    Raises:
        ArgumentError: a size is below 1.
    """

    def __init__(self, d_model: int, vocab_size: int) -> None:
        # Keeps both arguments. Every further one has to be kept as an attribute of its own name: that is how a model
        # describes itself when it is saved.
        super().__init__(d_model, vocab_size)
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))
        self.log_sharpness = nn.Parameter(torch.zeros(()))
        # A decoder draws the head's matrices anew with its own standard deviation, and sets what is no matrix to 0.
        nn.init.normal_(self.weight, std=d_model**-0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden (..., d), for generation."""
        return F.linear(self._sharper(hidden), self.weight)

    def nll(self, hidden: Tensor, target: Tensor, *, row_weight: Tensor | None = None) -> Tensor:
        """-log p(target | hidden), for training: hidden (N, d), target (N) -> (N) float32.

        linear_nll never holds the logits (N, V) of all rows. A head that is not linear works on chunks of rows inside
        torch.utils.checkpoint. ``row_weight`` (N) is what the loss will weigh rows by, if it knows: linear_nll saves
        products with it and nll stays the same. A head that has no use for it leaves the argument out.
        """
        return linear_nll(self._sharper(hidden), self.weight, target, row_weight=row_weight)

    def matmul_weights(self) -> int:
        """Weights that take part in a product for each training token: V d. FLOPs are counted from it."""
        return self.vocab_size * self.d_model

    def _sharper(self, hidden: Tensor) -> Tensor:
        return hidden * self.log_sharpness.exp().to(hidden.dtype)
