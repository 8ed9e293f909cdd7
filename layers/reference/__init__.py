"""Slow, readable, exact versions of the parts: what the fast ones are compared with."""

from .alibi import alibi_bias, alibi_slopes
from .feed_forward import feed_forward, rms_norm, swiglu
from .linear_nll import linear_nll
from .rotary import rotary
from .softmax_attention import softmax_attention
from .softplus_attention import softplus_attention
from .visible import visible

__all__ = [
    "alibi_bias",
    "alibi_slopes",
    "feed_forward",
    "linear_nll",
    "rms_norm",
    "rotary",
    "softmax_attention",
    "softplus_attention",
    "swiglu",
    "visible",
]
