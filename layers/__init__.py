"""The interchangeable parts of a language model. Needs torch and nothing heavier."""

from .attention.attention import Attention
from .attention.cache import KeyCache
from .attention.complex_attention import ComplexAttention
from .attention.qk_norm_attention import QKNormAttention
from .attention.relu_attention import ReLUAttention
from .attention.sigmoid_attention import SigmoidAttention
from .attention.softmax_attention import SoftmaxAttention
from .attention.softplus.softplus_attention import SoftplusAttention
from .attention.ssmax_attention import SSMaxAttention
from .common.corpus_statistics import CorpusStatistics
from .feed_forward.feed_forward import FeedForward
from .feed_forward.rms_norm import RMSNorm
from .feed_forward.swiglu import SwiGLU
from .head.adaptive_softmax_head import AdaptiveSoftmaxHead
from .head.head import Head
from .head.linear_head import LinearHead
from .head.vq.vq_logits_head import VQLogitsHead
from .loss.cross_entropy import CrossEntropy
from .loss.focal import Focal
from .loss.loss import Loss
from .loss.power_law_decay import PowerLawDecay
from .position.alibi import ALiBi
from .position.learned_position import LearnedPosition
from .position.no_position import NoPosition
from .position.position import Position
from .position.rotary import Rotary
from .position.sinusoidal import Sinusoidal
from .position.t5_bias import T5Bias

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
