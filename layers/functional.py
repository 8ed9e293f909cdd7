"""The parts' arithmetic as plain functions."""

from .alibi import alibi_slopes
from .complex_attention import complex_attention
from .linear_nll import linear_nll
from .power_law_weights import power_law_weights
from .qk_norm_attention import qk_norm_attention
from .relu_attention import relu_attention
from .rotary import extend_rotary, rotary
from .sigmoid_attention import sigmoid_attention
from .softplus_functional import softplus_attention
from .ssmax_attention import ssmax_attention
from .vq_nll import vq_nll

__all__ = [
    "alibi_slopes",
    "complex_attention",
    "extend_rotary",
    "linear_nll",
    "power_law_weights",
    "qk_norm_attention",
    "relu_attention",
    "rotary",
    "sigmoid_attention",
    "softplus_attention",
    "ssmax_attention",
    "vq_nll",
]
