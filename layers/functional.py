"""The parts' arithmetic as plain functions."""

from .alibi import alibi_slopes
from .complex_attention import complex_attention
from .linear_nll import linear_nll
from .rotary import rotary

__all__ = ["alibi_slopes", "complex_attention", "linear_nll", "rotary"]
