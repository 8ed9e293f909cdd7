"""Norm and feed-forward layers from their equations."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Y = x / sqrt(mean(x^2) + eps) * weight over the last dimension."""
    return x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + eps) * weight


def feed_forward(x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Y = W2 gelu(W1 x), gelu(z) = z (1 + erf(z / sqrt 2)) / 2; W1 (hidden, d), W2 (d, hidden)."""
    z = x @ up.T
    return (z * (1.0 + torch.erf(z / math.sqrt(2.0))) / 2.0) @ down.T


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Y = W3 (silu(W1 x) * W2 x), silu(z) = z / (1 + exp(-z)); W1, W2 (hidden, d), W3 (d, hidden)."""
    z = x @ gate.T
    return (z / (1.0 + torch.exp(-z)) * (x @ up.T)) @ down.T
