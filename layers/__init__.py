"""The interchangeable parts of a language model. Needs torch and nothing heavier."""

from .adaptive_softmax_head import AdaptiveSoftmaxHead
from .alibi import ALiBi
from .attention import Attention
from .cache import KeyCache
from .complex_attention import ComplexAttention
from .corpus_statistics import CorpusStatistics
from .cross_entropy import CrossEntropy
from .feed_forward import FeedForward
from .focal import Focal
from .head import Head
from .learned_position import LearnedPosition
from .linear_head import LinearHead
from .loss import Loss
from .no_position import NoPosition
from .position import Position
from .power_law_decay import PowerLawDecay
from .qk_norm_attention import QKNormAttention
from .relu_attention import ReLUAttention
from .rms_norm import RMSNorm
from .rotary import Rotary
from .sigmoid_attention import SigmoidAttention
from .sinusoidal import Sinusoidal
from .softmax_attention import SoftmaxAttention
from .softplus_attention import SoftplusAttention
from .ssmax_attention import SSMaxAttention
from .swiglu import SwiGLU
from .t5_bias import T5Bias
from .vq_logits_head import VQLogitsHead

__all__ = [
    "ALiBi",
    "AdaptiveSoftmaxHead",
    "Attention",
    "ComplexAttention",
    "CorpusStatistics",
    "CrossEntropy",
    "FeedForward",
    "Focal",
    "Head",
    "KeyCache",
    "LearnedPosition",
    "LinearHead",
    "Loss",
    "NoPosition",
    "Position",
    "PowerLawDecay",
    "QKNormAttention",
    "RMSNorm",
    "ReLUAttention",
    "Rotary",
    "SSMaxAttention",
    "SigmoidAttention",
    "Sinusoidal",
    "SoftmaxAttention",
    "SoftplusAttention",
    "SwiGLU",
    "T5Bias",
    "VQLogitsHead",
]
