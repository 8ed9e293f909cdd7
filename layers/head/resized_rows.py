"""A table with a row for each token, for more or fewer tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def resized_rows(rows: Tensor, size: int, std: float | None) -> nn.Parameter:
    """(V, ...) -> (``size``, ...): the first rows as they are, new ones at the end.

    New rows are the mean of the old ones, so that a new token starts as an average one, as it would hardly at random:
    a trained model's rows have a mean far from 0. With ``std`` they are Normal(0, ``std``) instead, or 0 where a row is
    a single number.
    """
    kept = rows[:size]
    new = rows.new_empty(size - len(kept), *rows.shape[1:])
    if std is None:
        new[:] = rows.double().mean(0).to(rows.dtype)
    elif rows.dim() > 1:
        new.normal_(0.0, std)
    else:
        new.zero_()
    return nn.Parameter(torch.cat([kept, new]), requires_grad=rows.requires_grad)
