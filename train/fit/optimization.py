"""AdamW with decay groups, linear warm-up and cosine decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...layers.common.part import Part


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: matrices decay; embeddings, norms, biases and other vectors do not.

    A part keeps further parameters of its own from decaying by naming them in a ``no_weight_decay`` attribute
    (a collection of parameter names). A parameter that several modules share is counted once.
    """
    decay: dict[int, nn.Parameter] = {}
    keep: dict[int, nn.Parameter] = {}
    for module in model.modules():
        exempt = getattr(module, "no_weight_decay", Part.no_weight_decay)
        for name, parameter in module.named_parameters(recurse=False):
            decays = parameter.ndim >= 2 and name not in exempt and not isinstance(module, nn.Embedding)
            (decay if decays else keep)[id(parameter)] = parameter
    for shared in decay.keys() & keep.keys():  # a head tied to the embedding is the embedding
        del decay[shared]
    return [
        {"params": list(decay.values()), "weight_decay": weight_decay},
        {"params": list(keep.values()), "weight_decay": 0.0},
    ]


def warmup_cosine(total_steps: int, warmup_steps: int, min_ratio: float) -> Callable[[int], float]:
    """The factor on the learning rate at each optimizer step.

    Rises linearly to 1 over ``warmup_steps``, then follows half a cosine to ``min_ratio`` at ``total_steps``.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def adamw(
    model: nn.Module, *, learning_rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over :func:`decay_groups`, in the fused form: one pass over memory on the CPU and on a GPU."""
    return torch.optim.AdamW(decay_groups(model, weight_decay), lr=learning_rate, betas=betas, eps=1e-8, fused=True)
