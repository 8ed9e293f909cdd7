"""The parts' arithmetic as plain functions."""

from .attention.complex_attention import complex_attention
from .attention.qk_norm_attention import qk_norm_attention
from .attention.relu_attention import relu_attention
from .attention.sigmoid_attention import sigmoid_attention
from .attention.softplus.functional import softplus_attention
from .attention.ssmax_attention import ssmax_attention
from .head.linear_nll import linear_nll
from .head.vq.vq_nll import vq_nll
from .loss.power_law_decay import power_law_weights
from .position.alibi import alibi_slopes
from .position.rotary import extend_rotary, rotary

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
