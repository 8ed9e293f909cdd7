"""A loss that gives hard tokens more weight: a part for lmzoo to begin from.

Change forward(), then see whether everything that a loss promises still holds with `lmzoo check`.
"""

import math
from typing import ClassVar

import torch
from lmzoo.errors import require
from lmzoo.layers import Loss
from lmzoo.layers.loss import mean
from torch import Tensor


class MyLoss(Loss):
    """loss = log(mean_n exp(k nll_n)) / k, in nats a token: above the mean where tokens differ (arXiv:2007.01162).

    The gradient weighs token n by exp(k nll_n), relative to the others of the batch. k = 0 is cross-entropy.

    Args:
        tilt: k, at least 0.

    Raises:
        ArgumentError: the tilt is negative or not finite.
    """

    # Constructor arguments with which it is plain cross-entropy; leave the line out where there are none.
    neutral: ClassVar[dict[str, float]] = {"tilt": 0.0}

    def __init__(self, tilt: float = 0.5) -> None:
        super().__init__()
        require(math.isfinite(tilt) and tilt >= 0, "tilt", "a finite number of at least 0 (0: cross-entropy)", tilt)
        # Every argument is kept as an attribute of its own name: that is how a run writes down what it optimised.
        self.tilt = tilt

    def forward(self, nll: Tensor, target: Tensor) -> Tensor:
        """A scalar from nll (N), the negative log-likelihoods in nats, and target (N), the token ids."""
        if self.tilt == 0 or nll.numel() == 0:
            return mean(nll)  # 0, with a gradient, where there are no rows
        # logsumexp subtracts the largest value before exp, so that no nll is too large
        return (torch.logsumexp(self.tilt * nll, dim=0) - math.log(nll.numel())) / self.tilt

    # A loss that multiplies each target's nll by a factor w of its own defines log_weight() too, so that
    # `lmzoo validate --debias` can take the shift of the optimum back, and row_weight(target), which saves the head
    # time; see lmzoo.layers.PowerLawDecay. One that wants the counts of the training data defines
    # use_corpus(statistics).
