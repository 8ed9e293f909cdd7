"""The interchangeable parts of a language model. Needs torch and nothing heavier."""

from .alibi import ALiBi
from .attention import Attention
from .cache import KeyCache
from .cross_entropy import CrossEntropy
from .feed_forward import FeedForward
from .head import Head
from .learned_position import LearnedPosition
from .linear_head import LinearHead
from .loss import Loss
from .no_position import NoPosition
from .position import Position
from .rms_norm import RMSNorm
from .rotary import Rotary
from .sinusoidal import Sinusoidal
from .softmax_attention import SoftmaxAttention
from .softplus_attention import SoftplusAttention
from .swiglu import SwiGLU

__all__ = [
    "ALiBi",
    "Attention",
    "CrossEntropy",
    "FeedForward",
    "Head",
    "KeyCache",
    "LearnedPosition",
    "LinearHead",
    "Loss",
    "NoPosition",
    "Position",
    "RMSNorm",
    "Rotary",
    "Sinusoidal",
    "SoftmaxAttention",
    "SoftplusAttention",
    "SwiGLU",
]
