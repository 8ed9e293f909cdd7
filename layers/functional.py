"""The parts' arithmetic as plain functions."""

from .alibi import alibi_slopes
from .linear_nll import linear_nll
from .rotary import rotary
from .softplus_functional import softplus_attention

__all__ = ["alibi_slopes", "linear_nll", "rotary", "softplus_attention"]
