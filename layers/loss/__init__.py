"""Losses: what a token's negative log-likelihood weighs. Power-Law Decay is in ``power_law_decay.py``."""

from .loss import mean

__all__ = ["mean"]
