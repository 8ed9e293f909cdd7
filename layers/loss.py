"""The frame that every loss fills in."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Loss(nn.Module):
    """What is optimised, as a function of likelihoods and targets alone, so that any loss works with any head."""

    @abstractmethod
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        """A scalar from nll (N) and target (N) int64."""
