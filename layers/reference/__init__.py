"""Slow, readable, exact versions of the parts: what the fast ones are compared with."""

from .adaptive_softmax_nll import adaptive_softmax_nll
from .alibi import alibi_bias, alibi_slopes
from .complex_attention import complex_attention
from .feed_forward import feed_forward, rms_norm, swiglu
from .focal import focal
from .length_scaled import qk_norm_attention, ssmax_attention
from .linear_nll import linear_nll
from .pointwise_attention import relu_attention, sigmoid_attention
from .power_law_weights import power_law_decay, power_law_weights
from .rotary import rotary
from .softmax_attention import softmax_attention
from .softplus_attention import softplus_attention
from .t5_bias import t5_bias
from .visible import visible
from .vq_nll import class_softmax_nll, vq_nll

__all__ = [
    "adaptive_softmax_nll",
    "alibi_bias",
    "alibi_slopes",
    "class_softmax_nll",
    "complex_attention",
    "feed_forward",
    "focal",
    "linear_nll",
    "power_law_decay",
    "power_law_weights",
    "qk_norm_attention",
    "relu_attention",
    "rms_norm",
    "rotary",
    "sigmoid_attention",
    "softmax_attention",
    "softplus_attention",
    "ssmax_attention",
    "swiglu",
    "t5_bias",
    "visible",
    "vq_nll",
]
