"""The frame that every loss fills in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ..common.part import Part


class Loss(Part):
    """What is optimised, as a function of likelihoods and targets alone, so that any loss works with any head."""

    neutral: ClassVar[Mapping[str, Any] | None] = None
    """Constructor arguments with which the loss is cross-entropy to the last bit; None where there are none."""

    @abstractmethod
    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        """A scalar from nll (N) and target (N) int64; 0, with gradients of 0, where there are no rows."""

    def row_weight(self, target: Tensor) -> Tensor | None:
        """What the rows will be weighed by, (N) for target (N), up to a common factor: d loss / d nll_n is as w_n.

        None for a loss that weighs all rows alike, or by more than the targets. ``head.nll(..., row_weight=...)`` can
        then prepare gradients; should it be wrong, that costs time and nothing else.
        """
        return None

    def log_weight(self) -> Tensor | None:
        """Log w (V) of a loss that is least at q(t) proportional to w(t) p(t), p the data's distribution.

        None for any other loss. ``head.debias(log_weight)`` takes the shift back.
        """
        return None


def mean(values: Tensor) -> Tensor:
    """The mean of (N), or 0, with a gradient, where there are no rows, whose mean would be NaN."""
    return values.mean() if values.numel() else values.sum()
