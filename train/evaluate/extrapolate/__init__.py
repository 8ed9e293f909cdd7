"""Evaluation at lengths beyond those of training: protocols, records, table and figure."""

from .evaluate import extrapolate

__all__ = ["extrapolate"]
