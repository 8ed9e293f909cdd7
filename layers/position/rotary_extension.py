"""Rules that stretch rotary positions beyond the training length: how the frequencies of the pairs change."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ...errors import require

Extension = Literal["linear", "ntk", "yarn", "truncated"]
EXTENSIONS = ("linear", "ntk", "yarn", "truncated")

# YaRN's defaults: pairs of more than 32 turns within the training length stay, those of less than one are stretched.
_FEW_TURNS, _MANY_TURNS = 1.0, 32.0


def rotary_frequencies(
    width: int,
    base: float,
    extension: Extension | None = None,
    *,
    factor: float = 1.0,
    train_length: int | None = None,
) -> tuple[Tensor, float]:
    """Radians a token of each pair, float64 (dh/2), and what queries and keys are multiplied by.

    With g_c = base^(-2c/dh), s = ``factor``, L = ``train_length``, r_c = L g_c / (2 pi), a pair's turns in training:

    ============= =====================================================================================
    None          g_c
    ``linear``    g_c / s: position interpolation (arXiv:2306.15595)
    ``ntk``       (base s^(dh / (dh - 2)))^(-2c/dh): the fastest pair stays, the slowest becomes g / s
    ``yarn``      (1 - w) g_c / s + w g_c, w = clamp((r_c - 1) / (32 - 1), 0, 1), queries and keys times
                  0.1 ln s + 1 (arXiv:2309.00071; the ramp is the paper's, over turns, not over c)
    ``truncated`` g_c where r_c >= 1;  pi / (2 L s) where 1/4 < r_c < 1;  0 where r_c <= 1/4
                  (Giraffe's truncated basis, arXiv:2308.10882)
    ============= =====================================================================================

    Giraffe leaves its cut-offs and its fixed low frequency to the model. Here pairs that made a full turn in training
    stay, those that made less than a quarter stand still, and the fixed frequency makes a quarter turn within s L
    tokens, so that no slow pair meets an angle that it did not meet in training.

    Args:
        width: dh.
        base: of the frequencies.
        extension: the rule.
        factor: s, how many times the training length is wanted.
        train_length: L in tokens; ``yarn`` and ``truncated`` need it.

    Raises:
        ArgumentError: an unknown rule, ``factor`` below 1, other than 1 without a rule, or no ``train_length`` where
            it is needed.
    """
    require(extension is None or extension in EXTENSIONS, "extension", f"None or one of {EXTENSIONS}", extension)
    require(factor >= 1.0, "factor", "a number of at least 1", factor)
    require(extension is not None or factor == 1.0, "factor", "1 without an extension", factor)
    wanted = extension in ("yarn", "truncated")
    known = train_length is not None and train_length >= 1
    require(known or (train_length is None and not wanted), "train_length", "an integer of at least 1", train_length)
    exponent = -torch.arange(0, width, 2, dtype=torch.float64) / width
    frequency = torch.as_tensor(base, dtype=torch.float64) ** exponent
    if extension == "linear":
        return frequency / factor, 1.0
    if extension == "ntk":
        # a head of two channels has one pair, whose frequency is 1 in any base
        stretched = base * factor ** (width / max(width - 2, 1))
        return torch.as_tensor(stretched, dtype=torch.float64) ** exponent, 1.0
    if extension is None or train_length is None:
        return frequency, 1.0
    turns = train_length * frequency / (2.0 * math.pi)
    if extension == "yarn":
        keep = ((turns - _FEW_TURNS) / (_MANY_TURNS - _FEW_TURNS)).clamp(0.0, 1.0)
        return (1.0 - keep) * frequency / factor + keep * frequency, 0.1 * math.log(factor) + 1.0
    low = torch.full_like(frequency, math.pi / (2.0 * train_length * factor))
    slow = torch.where(turns > 0.25, low, torch.zeros_like(frequency))
    return torch.where(turns >= 1.0, frequency, slow), 1.0
