"""Losses: what a token's negative log-likelihood weighs."""
